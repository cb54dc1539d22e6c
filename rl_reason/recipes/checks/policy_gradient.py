"""What is wrong with the settings of a policy gradient."""

from __future__ import annotations

import itertools
import logging

from rl_reason.data.prompt_selection import check_buckets
from rl_reason.data.sources import check_joins
from rl_reason.errors import UsageError
from rl_reason.objectives.kl import KL_ESTIMATORS, KL_NAMES
from rl_reason.objectives.reductions import REDUCTIONS
from rl_reason.objectives.surrogates import CORRECTIONS, RATIO_LEVELS, SURROGATES
from rl_reason.recipes.checks.common import (
    OF_COLLECTING,
    OF_DISTILLATION,
    OF_PREFERENCE,
    OF_REWARD_MODEL,
    at_least,
    check_common,
    check_drawing,
    divides,
    keys_of,
    one_of,
    unread,
)
from rl_reason.recipes.learned_rewards import AGGREGATIONS
from rl_reason.recipes.rollout import ADVANTAGES, OF_STEPS, WHITENED
from rl_reason.rewards.combination import MODEL
from rl_reason.settings import Algorithm, Sampling, Settings

log = logging.getLogger(__name__)


def check_policy_gradient(settings: Settings) -> None:
    """The keys of `recipes.policy_gradient`."""
    check_common(settings)
    sampling, algorithm = settings.sampling, settings.algorithm
    if algorithm.group_size < 2 and algorithm.advantage not in ("batch", "reward", "gae"):
        raise UsageError(
            f"config.algorithm.group_size={algorithm.group_size}: expected at least 2, to compare within a group, as "
            f"config.algorithm.advantage={algorithm.advantage!r} does"
        )
    if algorithm.group_size < 3 and algorithm.advantage == "leave_one_out_std":
        raise UsageError(
            f"config.algorithm.group_size={algorithm.group_size}: config.algorithm.advantage='leave_one_out_std' takes "
            "the spread of the others; expected at least 3"
        )
    check_drawing(settings)
    divides("algorithm.minibatches", algorithm.minibatches, "algorithm.batch_size", algorithm.batch_size)
    at_least("algorithm.micro_batch", algorithm.micro_batch, 0)
    one_of("algorithm.advantage", algorithm.advantage, ADVANTAGES)
    one_of("algorithm.surrogate", algorithm.surrogate, SURROGATES)
    one_of("algorithm.kl_estimator", algorithm.kl_estimator, KL_NAMES)
    one_of("algorithm.kl_in", algorithm.kl_in, ("loss", "reward"))
    one_of("algorithm.correction", algorithm.correction, CORRECTIONS)
    one_of("algorithm.old_logprobs", algorithm.old_logprobs, ("trainer", "sampler"))
    one_of("algorithm.ratio_level", algorithm.ratio_level, RATIO_LEVELS)
    one_of("algorithm.reduction", algorithm.reduction, REDUCTIONS)
    if not 0 <= algorithm.ddof < algorithm.group_size:
        raise UsageError(f"config.algorithm.ddof={algorithm.ddof}: expected 0 to group_size - 1")
    for key in ("eps", "clip_low", "clip_high", "dual_clip", "kl_coef", "kl_limit", "entropy_coef", "reference_every"):
        at_least(f"algorithm.{key}", getattr(algorithm, key), 0)
    at_least("algorithm.updates", algorithm.updates, 1)
    at_least("algorithm.resample", algorithm.resample, 0)
    if algorithm.resample and algorithm.group_size < 2:
        raise UsageError(
            f"config.algorithm.resample={algorithm.resample}: expected 0 where config.algorithm.group_size is 1, all "
            "rewards of a group are equal then"
        )
    if algorithm.resample and algorithm.advantage in ("batch", "reward", "gae"):
        raise UsageError(
            f"config.algorithm.resample={algorithm.resample}: groups of equal rewards teach with "
            f"config.algorithm.advantage={algorithm.advantage!r}; expected 0"
        )
    _check_lengths(sampling)
    if not 0 <= settings.reward.overlong <= sampling.limit(1):
        key = "lengths, at first " if sampling.lengths else "max_length="
        raise UsageError(
            f"config.reward.overlong={settings.reward.overlong}: expected 0 to config.sampling.{key}{sampling.limit(1)}"
        )
    others = ("data.solutions", "data.row_length", *OF_REWARD_MODEL, *OF_COLLECTING, *OF_PREFERENCE, *OF_DISTILLATION)
    unread(settings, others, "by policy-gradient training")
    check_joins(settings.data.joins, settings.data.name, settings.steps)
    _check_prompts(settings)
    _check_ahead(settings)
    _check_critic(settings)
    _check_reward_model(settings)
    _check_retraining(settings)
    if not algorithm.kl_coef:
        of_kl = ("algorithm.kl_estimator", "algorithm.kl_in", "algorithm.kl_limit")
        unread(settings, of_kl, "where config.algorithm.kl_coef is 0")
        if not settings.retraining.steps:
            unread(settings, ("algorithm.reference_every",), "where config.algorithm.kl_coef is 0")
    if algorithm.kl_in == "reward" and algorithm.kl_estimator not in KL_ESTIMATORS:
        raise UsageError(
            f"config.algorithm.kl_estimator={algorithm.kl_estimator!r}: weighs a term of the loss, and "
            "config.algorithm.kl_in='reward' has none; expected k1, k2 or k3"
        )
    if algorithm.surrogate != "clip":
        unread(settings, ("algorithm.dual_clip",), f"by config.algorithm.surrogate={algorithm.surrogate!r}")
    if algorithm.surrogate == "sapo":
        unread(settings, ("algorithm.clip_low", "algorithm.clip_high"), "by config.algorithm.surrogate='sapo'")
        for key in ("sapo_positive", "sapo_negative"):
            if not getattr(algorithm, key) > 0:
                raise UsageError(f"config.algorithm.{key}={getattr(algorithm, key)!r}: expected more than 0")
    else:
        keys = ("algorithm.sapo_positive", "algorithm.sapo_negative")
        unread(settings, keys, f"by config.algorithm.surrogate={algorithm.surrogate!r}")
    if algorithm.dual_clip and not algorithm.dual_clip > 1:
        raise UsageError(f"config.algorithm.dual_clip={algorithm.dual_clip!r}: expected 0 (off) or more than 1")
    one_update = algorithm.updates * algorithm.minibatches == 1 and algorithm.old_logprobs == "trainer"
    limits = [(one.surrogate, one.dual_clip, one.clip_low, one.clip_high) for one in (algorithm, Algorithm())]
    if one_update and limits[0] != limits[1]:
        log.warning(
            "config.algorithm.updates and config.algorithm.minibatches are 1: the ratio is 1 throughout, and what "
            "limits it (surrogate %s, dual_clip %g, ε %g and %g) does nothing",
            *limits[0],
        )  # fmt: skip
    if algorithm.correction == "none":
        unread(settings, ("algorithm.correction_limit",), "where config.algorithm.correction is 'none'")
    elif algorithm.old_logprobs == "sampler":
        raise UsageError(
            f"config.algorithm.correction={algorithm.correction!r}: compares the trainer's log-probabilities with the "
            "sampler's; config.algorithm.old_logprobs='sampler' makes them the same, expected 'trainer'"
        )
    elif not algorithm.correction_limit >= 1:
        raise UsageError(f"config.algorithm.correction_limit={algorithm.correction_limit!r}: expected at least 1")
    if settings.model.lora_rank or settings.model.lora_path:
        unread(settings, ("algorithm.reference_every",), "with adapters: what lies beneath them is the reference")
    if algorithm.advantage not in ("group", "process"):
        reason = f"by config.algorithm.advantage={algorithm.advantage!r}"
        by_critic = algorithm.advantage == "gae" and settings.critic.whiten
        divided = algorithm.advantage in (*WHITENED, "leave_one_out_std") or by_critic
        unread(settings, ("algorithm.ddof", "algorithm.eps")[: 1 if divided else 2], reason)


def _check_prompts(settings: Settings) -> None:
    """How questions are selected; what each way reads."""
    prompts = settings.prompts
    reads = {
        "none": (),
        "drop": ("memory", "edges", "drop_after", "drop_steps"),
        "weights": ("memory", "edges", "floor", "unmeasured"),
        "buckets": ("memory", "edges", "floor", "unmeasured", "shares"),
    }
    one_of("prompts.select", prompts.select, reads)
    read = {f"prompts.{key}" for key in ("select", *reads[prompts.select])}
    others = tuple(key for key in keys_of("prompts") if key not in read)
    unread(settings, others, f"by config.prompts.select={prompts.select!r}")
    for key in ("memory", "floor"):
        if not 0 <= getattr(prompts, key) < 1:
            raise UsageError(f"config.prompts.{key}={getattr(prompts, key)!r}: expected 0 or more, less than 1")
    at_least("prompts.drop_after", prompts.drop_after, 1)
    at_least("prompts.drop_steps", prompts.drop_steps, 1)
    if not 0 < prompts.unmeasured <= 1:
        raise UsageError(f"config.prompts.unmeasured={prompts.unmeasured!r}: expected more than 0, at most 1")
    check_buckets(prompts.edges, prompts.shares, needed=prompts.select == "buckets")


def _check_ahead(settings: Settings) -> None:
    """What sampling ahead of training needs, and what cannot be known ahead."""
    ahead, algorithm = settings.sampling.ahead, settings.algorithm
    if ahead not in (0, 1):
        raise UsageError(f"config.sampling.ahead={ahead}: expected 0 or 1")
    if ahead and algorithm.old_logprobs == "sampler":
        raise UsageError(
            f"config.algorithm.old_logprobs='sampler': with config.sampling.ahead={ahead} the sampler's policy is not "
            "the one that a step begins with; expected 'trainer'"
        )
    if ahead and algorithm.correction == "none":
        raise UsageError(
            f"config.algorithm.correction='none': with config.sampling.ahead={ahead} completions are an update old; "
            "expected 'token_truncate' (truncated importance sampling) or another of "
            f"{', '.join(CORRECTIONS[2:])}"
        )
    if ahead and algorithm.resample:
        raise UsageError(
            f"config.sampling.ahead={ahead}: config.algorithm.resample={algorithm.resample} draws again when a step's "
            "rewards are known, which is not ahead of it; expected 0 of one of them"
        )


def _check_lengths(sampling: Sampling) -> None:
    """A limit that grows ends at the one that all else is made for."""
    stages, said = sampling.lengths, f"config.sampling.lengths={sampling.lengths!r}"
    for stage in stages:
        if not isinstance(stage, tuple | list) or [type(number) for number in stage] != [int, int]:
            raise UsageError(f"{said}: expected ((first step, tokens), …), whole numbers")
    if not stages:
        return
    for numbers in zip(*stages, strict=True):
        if numbers[0] < 1 or any(a >= b for a, b in itertools.pairwise(numbers)):
            raise UsageError(f"{said}: expected steps and tokens that grow from stage to stage")
    if stages[0][0] != 1:
        raise UsageError(f"{said}: begins at step {stages[0][0]}; expected 1")
    if stages[-1][1] != sampling.max_length:
        raise UsageError(
            f"{said}: ends with {stages[-1][1]}; expected config.sampling.max_length={sampling.max_length}"
        )


def _check_critic(settings: Settings) -> None:
    """A critic and the advantages that it makes go together; what each kind reads."""
    critic, algorithm = settings.critic, settings.algorithm
    one_of("critic.kind", critic.kind, ("none", "separate", "shared"))
    if algorithm.advantage == "gae" and critic.kind == "none":
        raise UsageError(
            "config.algorithm.advantage='gae': config.critic.kind='none' gives no values; expected 'separate' or "
            "'shared'"
        )
    if critic.kind == "none":
        unread(settings, keys_of("critic"), "where config.critic.kind is 'none'")
        return
    if algorithm.advantage != "gae":
        raise UsageError(
            f"config.critic.kind={critic.kind!r}: config.algorithm.advantage={algorithm.advantage!r} has no critic; "
            "expected 'gae'"
        )
    for key in ("gamma", "gae_lambda"):
        if not 0 <= getattr(critic, key) <= 1:
            raise UsageError(f"config.critic.{key}={getattr(critic, key)!r}: expected 0 to 1")
    at_least("critic.value_clip", critic.value_clip, 0)
    at_least("critic.pretrain_steps", critic.pretrain_steps, 0)
    if critic.kind == "separate":
        unread(settings, ("critic.coef",), "by config.critic.kind='separate', which has a loss of its own")
        if critic.pretrain_steps >= settings.steps:
            raise UsageError(
                f"config.critic.pretrain_steps={critic.pretrain_steps}: leaves no step for the policy; expected less "
                f"than config.steps={settings.steps}"
            )
        if not critic.learning_rate > 0:
            raise UsageError(f"config.critic.learning_rate={critic.learning_rate!r}: expected more than 0")
        return
    keys = ("critic.path", "critic.learning_rate", "critic.pretrain_steps")
    unread(settings, keys, "by config.critic.kind='shared', which is a part of the policy")
    if not critic.coef > 0:
        raise UsageError(f"config.critic.coef={critic.coef!r}: expected more than 0")
    if settings.model.lora_rank or settings.model.lora_path:
        raise UsageError("config.critic.kind='shared': adapters leave its layer as it is; expected 'separate'")


DIVIDED = ("group", "leave_one_out_std")
"""Advantages that are divided by the spread of their group."""
NOT_RETRAINED = "where config.retraining.steps is 0"


def _check_retraining(settings: Settings) -> None:
    """What training the reward model on needs, and what is read only then."""
    one, algorithm = settings.retraining, settings.algorithm
    at_least("retraining.steps", one.steps, 0)
    if not one.steps:
        unread(settings, ("retraining.batch_size", "retraining.replay", "retraining.learning_rate"), NOT_RETRAINED)
        return
    if not settings.reward.model:
        raise UsageError(f"config.retraining.steps={one.steps}: there is no reward model; expected config.reward.model")
    if not algorithm.reference_every:
        raise UsageError(
            f"config.retraining.steps={one.steps}: config.algorithm.reference_every=0 means one iteration without an "
            "end; expected the steps of an outer iteration"
        )
    if algorithm.reference_every > settings.steps:
        raise UsageError(
            f"config.retraining.steps={one.steps}: config.algorithm.reference_every={algorithm.reference_every} is "
            f"more than config.steps={settings.steps}, so no iteration ends; expected at most that"
        )
    at_least("retraining.batch_size", one.batch_size, 1)
    if not 0 <= one.replay < 1:
        raise UsageError(f"config.retraining.replay={one.replay!r}: expected 0 or more, less than 1")
    if one.replay and not 0 < round(one.replay * one.batch_size) < one.batch_size:
        which = "all" if round(one.replay * one.batch_size) else "none"
        raise UsageError(
            f"config.retraining.replay={one.replay!r}: is {which} of config.retraining.batch_size={one.batch_size} "
            "completions; expected 0, or a share that is at least one of them and leaves one"
        )
    if not one.learning_rate > 0:
        raise UsageError(f"config.retraining.learning_rate={one.learning_rate!r}: expected more than 0")


def _check_reward_model(settings: Settings) -> None:
    """What a reward model and rewards of steps need, and what is read only with them."""
    reward, advantage = settings.reward, settings.algorithm.advantage
    asks = MODEL in reward.names or reward.steps == MODEL
    if asks and not reward.model:
        key = "names" if MODEL in reward.names else "steps"
        raise UsageError(f"config.reward.{key}={getattr(reward, key)!r}: expected config.reward.model, a folder")
    if reward.model and not asks:
        raise UsageError(
            f"config.reward.model={reward.model!r}: is not asked; expected 'model' in config.reward.names or as "
            "config.reward.steps"
        )
    if reward.instruction_model and reward.steps:
        raise UsageError(
            f"config.reward.steps={reward.steps!r}: config.reward.instruction_model multiplies rewards of completions, "
            "not of steps; expected '' (a model of steps may be 'model' in config.reward.names)"
        )
    if reward.instruction_model and advantage in DIVIDED:
        log.warning(
            "config.reward.instruction_model: is the same for all completions of a question, and cancels where "
            "config.algorithm.advantage=%r divides by the spread of the group",
            advantage,
        )
    one_of("reward.aggregation", reward.aggregation, AGGREGATIONS)
    if MODEL not in reward.names:
        unread(settings, ("reward.aggregation",), "where 'model' is not among config.reward.names")
    if advantage == "process" and not reward.steps:
        raise UsageError(
            f"config.algorithm.advantage={advantage!r}: needs rewards of steps; expected config.reward.steps, for "
            "example 'calculations' or 'model'"
        )
    if reward.steps and advantage not in OF_STEPS:
        raise UsageError(
            f"config.reward.steps={reward.steps!r}: is not read by config.algorithm.advantage={advantage!r}; expected "
            f"'' or an advantage that reads rewards of steps: {', '.join(OF_STEPS)}"
        )
    if not reward.steps and MODEL not in reward.names:
        unread(settings, ("reward.step_separator",), "where steps have no rewards")
    if advantage == "process" and settings.algorithm.kl_in == "reward":
        raise UsageError(
            "config.algorithm.kl_in='reward': config.algorithm.advantage='process' takes rewards of steps only; "
            "expected 'loss'"
        )


def check_what_kind_reads(settings: Settings, kind: str) -> None:
    """What is read only of a reward model that judges steps; `kind` is what it was trained for."""
    if kind == "process":
        return
    reason = f"of config.reward.model={settings.reward.model!r}, which was trained for {kind}"
    unread(settings, ("reward.aggregation",), reason)
    if not settings.reward.steps:
        unread(settings, ("reward.step_separator",), reason)
