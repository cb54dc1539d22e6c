"""What the checks of several recipes share: groups of keys, and what is wrong with a value."""

from __future__ import annotations

import dataclasses
import logging
import operator
from pathlib import Path

from jax.sharding import Mesh

from rl_reason.data.constitution import read_constitution
from rl_reason.errors import UnreadKey, UsageError, nearest
from rl_reason.objectives.reductions import REDUCTIONS
from rl_reason.parallel.mesh import DECODING, lanes
from rl_reason.recipes.accumulation import rows_at_once
from rl_reason.rewards.combination import JUDGE, MODEL
from rl_reason.rewards.judge import check_options
from rl_reason.runtime import weights_and_biases
from rl_reason.runtime.trace import parse_steps
from rl_reason.sampling import logits
from rl_reason.settings import Settings

log = logging.getLogger(__name__)


def keys_of(group: str) -> tuple[str, ...]:
    """All keys of a group of settings."""
    fields = dataclasses.fields(operator.attrgetter(group)(Settings()))
    return tuple(f"{group}.{field.name}" for field in fields)


OF_POLICY_GRADIENT = tuple(
    f"algorithm.{key}"
    for key in (
        "advantage",
        "ddof",
        "eps",
        "clip_low",
        "clip_high",
        "kl_coef",
        "ratio_level",
        "old_logprobs",
        "resample",
        "surrogate",
        "dual_clip",
        "kl_estimator",
        "kl_limit",
        "sapo_positive",
        "sapo_negative",
        "kl_in",
        "entropy_coef",
        "correction",
        "correction_limit",
        "updates",
        "minibatches",
        "reference_every",
    )
) + (
    *keys_of("critic"),
    *keys_of("retraining"),
    *keys_of("prompts"),
    "data.joins",
    "sampling.ahead",
    "sampling.lengths",
)
"""What a policy gradient alone reads. Who reads `algorithm.group_size` and `algorithm.reduction` beside it differs."""


OF_REWARD_MODEL, OF_COLLECTING, OF_PREFERENCE, OF_DISTILLATION = map(
    keys_of, ("reward_model", "collect", "preference", "distillation")
)


OF_PIPELINES = ("selection", "cleaning", "synthesis", "pipeline", "stages")
"""What no recipe reads that samples or trains itself."""


OF_CONSTITUTION = (*keys_of("constitution"), *keys_of("feedback"))


OF_SAMPLED_MODEL = ("model.path", "model.dtype", "model.attention")
"""What a model reads that is sampled from and not trained."""


OF_DOCUMENTS = keys_of("documents")


OF_JUDGE, OF_GENERATION = keys_of("judge"), (*keys_of("endpoint"), *keys_of("generate"))


OF_SAMPLING = tuple(f"sampling.{key}" for key in ("top_k", "top_p", "min_p", "temperature", "batch_size"))


OF_GRADING = ("names", "weights", "timeout", "workers", "memory", "environment")


LEARNED_REWARDS = ("overlong", "steps", "step_separator", "model", "aggregation", "instruction_model")
OF_LEARNED_REWARDS = tuple(f"reward.{key}" for key in LEARNED_REWARDS)
"""What is rewarded beside the rules."""


def at_least(key: str, value: float, least: float) -> None:
    if not value >= least:
        raise UsageError(f"config.{key}={value!r}: expected at least {least}")


def divides(key: str, part: int, whole_key: str, whole: int) -> None:
    if part < 1 or whole % part:
        raise UsageError(f"config.{key}={part}: expected a divisor of config.{whole_key}={whole}")


def one_of(key: str, value: str, known) -> None:
    if value not in known:
        raise UsageError(f"config.{key}={value!r}: unknown value{nearest(value, known)}")


def unread(settings: Settings, keys: tuple[str, ...], reason: str) -> None:
    """Refuses a value for a key that the run would not read; of a group, the first such key in it."""
    for key in keys:
        value, default = (operator.attrgetter(key)(s) for s in (settings, Settings()))
        if dataclasses.is_dataclass(value):
            unread(settings, keys_of(key), reason)
        elif value != default:
            error = UnreadKey(f"config.{key}={value!r}: is not read {reason}; expected its default {default!r}")
            error.key = key
            raise error


def check_rows(settings: Settings, mesh: Mesh) -> None:
    """Tells where the mesh does not divide the rows that are sampled: then every device computes all of them."""
    algorithm, ways = settings.algorithm, lanes(mesh, DECODING)
    rows = rows_at_once(settings.sampling.batch_size, algorithm.batch_size)
    if rows % ways:
        log.warning(
            "config.sampling.batch_size: %d completions over %d devices: every device computes all of them", rows, ways
        )


def check_common(settings: Settings) -> None:
    """The keys that every recipe reads that trains."""
    unread(settings, OF_PIPELINES, f"by config.recipe={settings.recipe!r}")
    at_least("steps", settings.steps, 1)
    at_least("seed", settings.seed, 0)
    at_least("log.every", settings.log.every, 1)
    at_least("log.samples", settings.log.samples, 0)
    weights_and_biases.check(settings.log.wandb)
    at_least("checkpoint.every", settings.checkpoint.every, 1)
    one_of("data.unreadable", settings.data.unreadable, ("error", "drop"))
    check_rules(settings)
    unread(settings, (*OF_GENERATION, *OF_CONSTITUTION), "by training")
    if settings.recipe != "pretraining":
        unread(settings, OF_DOCUMENTS, "but by continued pretraining")
    if settings.watchdog < 0:
        raise UsageError(f"config.watchdog={settings.watchdog}: expected seconds, or 0 for none")
    parse_steps(settings.profile)
    every = settings.evaluation.every
    if settings.checkpoint.keep_best and (not every or settings.checkpoint.every % every):
        raise UsageError(
            f"config.checkpoint.keep_best={settings.checkpoint.keep_best}: what is best is evaluated; expected "
            f"config.evaluation.every={every} to divide config.checkpoint.every={settings.checkpoint.every}"
        )
    at_least("evaluation.every", settings.evaluation.every, 0)
    at_least("evaluation.samples", settings.evaluation.samples, 0)
    at_least("evaluation.samples_during", settings.evaluation.samples_during, 1)
    at_least("evaluation.problems", settings.evaluation.problems, 0)
    at_least("data.problems", settings.data.problems, 0)
    at_least("data.max_prompt_length", settings.data.max_prompt_length, 1)
    at_least("sampling.max_length", settings.sampling.max_length, 1)
    logits.check(settings.evaluation.temperature, 0, settings.evaluation.top_p, 0.0, "config.evaluation.")
    algorithm = settings.algorithm
    at_least("algorithm.batch_size", algorithm.batch_size, 1)
    at_least("algorithm.warmup_steps", algorithm.warmup_steps, 0)
    one_of("algorithm.schedule", algorithm.schedule, ("constant", "cosine"))
    for key in ("weight_decay", "max_grad_norm", "final_learning_rate"):
        at_least(f"algorithm.{key}", getattr(algorithm, key), 0)
    for key in ("b1", "b2"):
        if not 0 <= getattr(algorithm, key) < 1:
            raise UsageError(f"config.algorithm.{key}={getattr(algorithm, key)!r}: expected 0 or more, less than 1")
    if algorithm.schedule == "constant":
        unread(settings, ("algorithm.final_learning_rate",), "by the constant schedule")
    if settings.evaluation.temperature == 0:
        for key in ("samples", "samples_during"):
            if getattr(settings.evaluation, key) > 1:
                value = getattr(settings.evaluation, key)
                raise UsageError(
                    f"config.evaluation.{key}={value}: expected 1 at temperature 0, where all are the same"
                )
        unread(settings, ("evaluation.greedy",), "at config.evaluation.temperature=0, where all samples are greedy")
    if settings.model.lora_path:
        said = ("model.lora_rank", "model.lora_alpha", "model.lora_targets")
        unread(settings, said, "with config.model.lora_path, whose folder says them")
    elif not settings.model.lora_rank:
        unread(settings, ("model.lora_alpha", "model.lora_targets"), "where config.model.lora_rank is 0")
    for key in ("learning_rate", "adam_eps"):
        if not getattr(algorithm, key) > 0:
            raise UsageError(f"config.algorithm.{key}={getattr(algorithm, key)!r}: expected more than 0")


def check_rules(settings: Settings) -> None:
    """What single rewards read, and the judge."""
    if "length" not in settings.reward.names:
        unread(settings, ("reward.max_characters",), "where config.reward.names has no 'length'")
    if JUDGE in settings.reward.names:
        check_options(settings.judge)
    else:
        unread(settings, OF_JUDGE, "where config.reward.names has no 'judge'")


def check_constitution(settings: Settings) -> None:
    """Reads the principles: what is wrong with their file is told before the first stage of a pipeline runs."""
    file = settings.constitution.file
    if not file:
        raise UsageError("config.constitution.file='': expected a file of principles (`data.constitution`)")
    read_constitution(Path(file).expanduser())


def check_reduction(settings: Settings, taken: tuple[str, ...]) -> None:
    """Tells a reduction that there is not from one that the recipe does not take."""
    reduction = settings.algorithm.reduction
    one_of("algorithm.reduction", reduction, REDUCTIONS)
    if reduction not in taken:
        raise UsageError(
            f"config.algorithm.reduction={reduction!r}: is not one of config.recipe={settings.recipe!r}; expected "
            f"{' or '.join(map(repr, taken))}"
        )


def check_drawing(settings: Settings) -> None:
    """What a step draws: groups of completions, so many at the same time."""
    sampling, algorithm = settings.sampling, settings.algorithm
    logits.check(sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p, "config.sampling.")
    if sampling.temperature == 0:
        raise UsageError("config.sampling.temperature=0: a policy is trained on samples; expected more than 0")
    at_least("algorithm.group_size", algorithm.group_size, 1)
    divides("algorithm.group_size", algorithm.group_size, "algorithm.batch_size", algorithm.batch_size)
    rows = rows_at_once(sampling.batch_size, algorithm.batch_size)
    divides("sampling.batch_size", rows, "algorithm.batch_size", algorithm.batch_size)
    divides("algorithm.group_size", algorithm.group_size, "sampling.batch_size", rows)


def check_examples(settings: Settings) -> None:
    """What training on examples in rows reads of `algorithm`, and what it does not."""
    algorithm = settings.algorithm
    micro_batch = rows_at_once(algorithm.micro_batch, algorithm.batch_size)
    divides("algorithm.micro_batch", micro_batch, "algorithm.batch_size", algorithm.batch_size)
    at_least("data.row_length", settings.data.row_length, 0)
    one_of("data.long_prompts", settings.data.long_prompts, ("error", "drop"))
    check_reduction(settings, ("sequence_mean", "token_mean"))
    others = (*OF_POLICY_GRADIENT, *OF_REWARD_MODEL, *OF_DISTILLATION)
    unread(settings, ("algorithm.group_size", *others), "by supervised training")


def check_collecting(settings: Settings) -> None:
    """The keys of `recipes.collecting`."""
    sampling, collect = settings.sampling, settings.collect
    logits.check(sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p, "config.sampling.")
    at_least("sampling.batch_size", sampling.batch_size, 0)
    at_least("collect.samples", collect.samples, 1)
    if sampling.temperature == 0 and collect.samples > 1:
        raise UsageError(
            f"config.collect.samples={collect.samples}: expected 1 at temperature 0, where all are the same"
        )
    if MODEL in settings.reward.names:
        raise UsageError(
            f"config.reward.names={settings.reward.names!r}: completions that are collected are graded by rules; "
            "expected no 'model'"
        )
    unread(settings, OF_LEARNED_REWARDS, "where completions are collected")
