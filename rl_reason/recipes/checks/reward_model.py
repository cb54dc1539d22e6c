"""What is wrong with the settings of training a reward model."""

from __future__ import annotations

from rl_reason.data.labelled import KINDS
from rl_reason.errors import UsageError
from rl_reason.recipes.checks.common import (
    OF_COLLECTING,
    OF_DISTILLATION,
    OF_GRADING,
    OF_POLICY_GRADIENT,
    OF_PREFERENCE,
    at_least,
    check_common,
    one_of,
    unread,
)
from rl_reason.rewards.combination import MODEL
from rl_reason.sampling import logits
from rl_reason.settings import Settings


def check_reward_model(settings: Settings) -> None:
    """The keys of `recipes.reward_model`."""
    check_common(settings)
    algorithm, learned = settings.algorithm, settings.reward_model
    one_of("reward_model.kind", learned.kind, KINDS)
    one_of("reward_model.labels", learned.labels, ("rules", "rollouts", "file"))
    at_least("reward_model.rollouts", learned.rollouts, 1)
    if not settings.reward.step_separator:
        raise UsageError("config.reward.step_separator='': expected the text that ends a step")
    at_least("algorithm.micro_batch", algorithm.micro_batch, 0)
    by = "by the training of reward models"
    others = ("algorithm.reduction", "data.row_length", *OF_COLLECTING, *OF_PREFERENCE, *OF_DISTILLATION)
    unread(settings, (*OF_POLICY_GRADIENT, *others), by)
    keys: tuple[str, ...] = (
        "sampling.top_k",
        "sampling.min_p",
        "reward.overlong",
        "reward.model",
        "reward.aggregation",
        "reward.instruction_model",
    )
    unread(settings, (*keys, "data.solutions", "evaluation.samples_during", "evaluation.greedy"), by)
    unread(settings, ("model.lora_rank", "model.lora_path"), f"{by}: all weights are trained")
    if learned.kind != "outcome":
        unread(settings, ("reward_model.every_token",), f"by config.reward_model.kind={learned.kind!r}")
    if learned.kind != "process":
        keys = ("reward_model.first_error", "reward_model.neutral_is_right", "reward_model.soft")
        unread(settings, (*keys, "reward.step_separator"), f"by config.reward_model.kind={learned.kind!r}")
    if learned.kind != "process" or learned.labels != "rules":
        unread(settings, ("reward.steps",), "but where a process reward model learns from rules")
    if learned.labels == "file":
        keys = ("reward_model.policy", "data.unreadable", *(f"reward.{key}" for key in OF_GRADING))
        keys += ("algorithm.group_size", "sampling.temperature", "sampling.top_p", "sampling.batch_size", "data.split")
        keys += ("evaluation.samples", "evaluation.temperature", "evaluation.top_p", "evaluation.split", "data.dir")
        unread(settings, keys, "where config.reward_model.labels is 'file'")
    else:
        _check_sampled_labels(settings)
    if learned.labels != "rollouts":
        unread(settings, ("reward_model.rollouts",), f"where config.reward_model.labels is {learned.labels!r}")
    if learned.labels == "rules":
        unread(settings, ("reward_model.soft",), "where config.reward_model.labels is 'rules'")


def _check_sampled_labels(settings: Settings) -> None:
    """What the labels need that a reward model's training makes itself."""
    sampling, learned, reward = settings.sampling, settings.reward_model, settings.reward
    logits.check(sampling.temperature, 0, sampling.top_p, 0.0, "config.sampling.")
    at_least("algorithm.group_size", settings.algorithm.group_size, 1)
    at_least("sampling.batch_size", sampling.batch_size, 0)
    if sampling.temperature == 0 and max(settings.algorithm.group_size, learned.rollouts) > 1:
        raise UsageError("config.sampling.temperature=0: all completions would be the same; expected more than 0")
    if learned.kind == "preference":
        raise UsageError(
            f"config.reward_model.labels={learned.labels!r}: rules do not compare completions; with "
            "config.reward_model.kind='preference' expected 'file'"
        )
    if learned.kind == "outcome" and learned.labels == "rollouts":
        raise UsageError(
            "config.reward_model.labels='rollouts': are labels of steps; with config.reward_model.kind='outcome' "
            "expected 'rules' or 'file'"
        )
    if MODEL in (*reward.names, reward.steps):
        key = "names" if MODEL in reward.names else "steps"
        value = getattr(reward, key)
        raise UsageError(f"config.reward.{key}={value!r}: expected rules, which say what a reward model shall learn")
    if learned.kind == "process" and learned.labels == "rules" and not reward.steps:
        raise UsageError(
            "config.reward.steps='': expected a rule, for example 'calculations', by which a process reward model "
            "learns; or config.reward_model.labels='rollouts' or 'file'"
        )
    unread(settings, ("reward_model.neutral_is_right",), f"where config.reward_model.labels is {learned.labels!r}")
