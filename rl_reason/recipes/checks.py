"""What is wrong with settings, told before anything is compiled."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import operator

from jax.sharding import Mesh

from rl_reason.data.generated import FORMATS
from rl_reason.data.labelled import KINDS
from rl_reason.data.prompt_selection import check_buckets
from rl_reason.data.sources import check_joins
from rl_reason.errors import UsageError, nearest
from rl_reason.objectives.distillation import DIVERGENCES
from rl_reason.objectives.kl import KL_ESTIMATORS, KL_NAMES
from rl_reason.objectives.reductions import REDUCTIONS
from rl_reason.objectives.surrogates import CORRECTIONS, RATIO_LEVELS, SURROGATES
from rl_reason.parallel.mesh import DECODING, lanes
from rl_reason.recipes.accumulation import rows_at_once
from rl_reason.recipes.learned_rewards import AGGREGATIONS
from rl_reason.recipes.rollout import ADVANTAGES, OF_STEPS, WHITENED
from rl_reason.rewards.combination import JUDGE, MODEL
from rl_reason.rewards.judge import check_options
from rl_reason.runtime.endpoint import check as check_endpoint
from rl_reason.runtime.trace import parse_steps
from rl_reason.sampling import logits
from rl_reason.settings import Algorithm, Sampling, Settings

log = logging.getLogger(__name__)


def _keys(group: str) -> tuple[str, ...]:
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
) + (*_keys("critic"), *_keys("retraining"), *_keys("prompts"), "data.joins", "sampling.ahead", "sampling.lengths")
"""What a policy gradient alone reads. Who reads `algorithm.group_size` and `algorithm.reduction` beside it differs."""
OF_REWARD_MODEL, OF_COLLECTING, OF_PREFERENCE, OF_DISTILLATION = map(
    _keys, ("reward_model", "collect", "preference", "distillation")
)
OF_PIPELINES = ("selection", "pipeline", "stages")
"""What no recipe reads that samples or trains itself."""
OF_SAMPLED_MODEL = ("model.path", "model.dtype", "model.attention")
"""What a model reads that is sampled from and not trained."""
OF_JUDGE, OF_GENERATION = _keys("judge"), (*_keys("endpoint"), *_keys("generate"))
OF_SAMPLING = tuple(f"sampling.{key}" for key in ("top_k", "top_p", "min_p", "temperature", "batch_size"))
OF_GRADING = ("names", "weights", "timeout", "workers", "memory", "environment")
OF_LEARNED_REWARDS = tuple(f"reward.{key}" for key in ("overlong", "steps", "step_separator", "model", "aggregation"))
"""What is rewarded beside the rules."""


def _at_least(key: str, value: float, least: float) -> None:
    if not value >= least:
        raise UsageError(f"config.{key}={value!r}: expected at least {least}")


def _divides(key: str, part: int, whole_key: str, whole: int) -> None:
    if part < 1 or whole % part:
        raise UsageError(f"config.{key}={part}: expected a divisor of config.{whole_key}={whole}")


def _one_of(key: str, value: str, known) -> None:
    if value not in known:
        raise UsageError(f"config.{key}={value!r}: unknown value{nearest(value, known)}")


def _check_reduction(settings: Settings, taken: tuple[str, ...]) -> None:
    """Tells a reduction that there is not from one that the recipe does not take."""
    reduction = settings.algorithm.reduction
    _one_of("algorithm.reduction", reduction, REDUCTIONS)
    if reduction not in taken:
        raise UsageError(
            f"config.algorithm.reduction={reduction!r}: is not one of config.recipe={settings.recipe!r}; expected "
            f"{' or '.join(map(repr, taken))}"
        )


def unread(settings: Settings, keys: tuple[str, ...], reason: str) -> None:
    """Refuses a value for a key that the run would not read; of a group, the first such key in it."""
    for key in keys:
        value, default = (operator.attrgetter(key)(s) for s in (settings, Settings()))
        if dataclasses.is_dataclass(value):
            unread(settings, _keys(key), reason)
        elif value != default:
            raise UsageError(f"config.{key}={value!r}: is not read {reason}; expected its default {default!r}")


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
    _at_least("steps", settings.steps, 1)
    _at_least("seed", settings.seed, 0)
    _at_least("log.every", settings.log.every, 1)
    _at_least("log.samples", settings.log.samples, 0)
    _at_least("checkpoint.every", settings.checkpoint.every, 1)
    _one_of("data.unreadable", settings.data.unreadable, ("error", "drop"))
    _check_rules(settings)
    unread(settings, OF_GENERATION, "by training")
    if settings.watchdog < 0:
        raise UsageError(f"config.watchdog={settings.watchdog}: expected seconds, or 0 for none")
    parse_steps(settings.profile)
    every = settings.evaluation.every
    if settings.checkpoint.keep_best and (not every or settings.checkpoint.every % every):
        raise UsageError(
            f"config.checkpoint.keep_best={settings.checkpoint.keep_best}: what is best is evaluated; expected "
            f"config.evaluation.every={every} to divide config.checkpoint.every={settings.checkpoint.every}"
        )
    _at_least("evaluation.every", settings.evaluation.every, 0)
    _at_least("evaluation.samples", settings.evaluation.samples, 0)
    _at_least("evaluation.samples_during", settings.evaluation.samples_during, 1)
    _at_least("evaluation.problems", settings.evaluation.problems, 0)
    _at_least("data.problems", settings.data.problems, 0)
    _at_least("data.max_prompt_length", settings.data.max_prompt_length, 1)
    _at_least("sampling.max_length", settings.sampling.max_length, 1)
    logits.check(settings.evaluation.temperature, 0, settings.evaluation.top_p, 0.0, "config.evaluation.")
    algorithm = settings.algorithm
    _at_least("algorithm.batch_size", algorithm.batch_size, 1)
    _at_least("algorithm.warmup_steps", algorithm.warmup_steps, 0)
    _one_of("algorithm.schedule", algorithm.schedule, ("constant", "cosine"))
    for key in ("weight_decay", "max_grad_norm", "final_learning_rate"):
        _at_least(f"algorithm.{key}", getattr(algorithm, key), 0)
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
    if settings.model.lora_path:
        said = ("model.lora_rank", "model.lora_alpha", "model.lora_targets")
        unread(settings, said, "with config.model.lora_path, whose folder says them")
    elif not settings.model.lora_rank:
        unread(settings, ("model.lora_alpha", "model.lora_targets"), "where config.model.lora_rank is 0")
    for key in ("learning_rate", "adam_eps"):
        if not getattr(algorithm, key) > 0:
            raise UsageError(f"config.algorithm.{key}={getattr(algorithm, key)!r}: expected more than 0")


def _check_rules(settings: Settings) -> None:
    """What single rewards read, and the judge."""
    if "length" not in settings.reward.names:
        unread(settings, ("reward.max_characters",), "where config.reward.names has no 'length'")
    if JUDGE in settings.reward.names:
        check_options(settings.judge)
    else:
        unread(settings, OF_JUDGE, "where config.reward.names has no 'judge'")


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
    _check_drawing(settings)
    _divides("algorithm.minibatches", algorithm.minibatches, "algorithm.batch_size", algorithm.batch_size)
    _at_least("algorithm.micro_batch", algorithm.micro_batch, 0)
    _one_of("algorithm.advantage", algorithm.advantage, ADVANTAGES)
    _one_of("algorithm.surrogate", algorithm.surrogate, SURROGATES)
    _one_of("algorithm.kl_estimator", algorithm.kl_estimator, KL_NAMES)
    _one_of("algorithm.kl_in", algorithm.kl_in, ("loss", "reward"))
    _one_of("algorithm.correction", algorithm.correction, CORRECTIONS)
    _one_of("algorithm.old_logprobs", algorithm.old_logprobs, ("trainer", "sampler"))
    _one_of("algorithm.ratio_level", algorithm.ratio_level, RATIO_LEVELS)
    _one_of("algorithm.reduction", algorithm.reduction, REDUCTIONS)
    if not 0 <= algorithm.ddof < algorithm.group_size:
        raise UsageError(f"config.algorithm.ddof={algorithm.ddof}: expected 0 to group_size - 1")
    for key in ("eps", "clip_low", "clip_high", "dual_clip", "kl_coef", "kl_limit", "entropy_coef", "reference_every"):
        _at_least(f"algorithm.{key}", getattr(algorithm, key), 0)
    _at_least("algorithm.updates", algorithm.updates, 1)
    _at_least("algorithm.resample", algorithm.resample, 0)
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
    _one_of("prompts.select", prompts.select, reads)
    read = {f"prompts.{key}" for key in ("select", *reads[prompts.select])}
    others = tuple(key for key in _keys("prompts") if key not in read)
    unread(settings, others, f"by config.prompts.select={prompts.select!r}")
    for key in ("memory", "floor"):
        if not 0 <= getattr(prompts, key) < 1:
            raise UsageError(f"config.prompts.{key}={getattr(prompts, key)!r}: expected 0 or more, less than 1")
    _at_least("prompts.drop_after", prompts.drop_after, 1)
    _at_least("prompts.drop_steps", prompts.drop_steps, 1)
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
    _one_of("critic.kind", critic.kind, ("none", "separate", "shared"))
    if algorithm.advantage == "gae" and critic.kind == "none":
        raise UsageError(
            "config.algorithm.advantage='gae': config.critic.kind='none' gives no values; expected 'separate' or "
            "'shared'"
        )
    if critic.kind == "none":
        unread(settings, _keys("critic"), "where config.critic.kind is 'none'")
        return
    if algorithm.advantage != "gae":
        raise UsageError(
            f"config.critic.kind={critic.kind!r}: config.algorithm.advantage={algorithm.advantage!r} has no critic; "
            "expected 'gae'"
        )
    for key in ("gamma", "gae_lambda"):
        if not 0 <= getattr(critic, key) <= 1:
            raise UsageError(f"config.critic.{key}={getattr(critic, key)!r}: expected 0 to 1")
    _at_least("critic.value_clip", critic.value_clip, 0)
    _at_least("critic.pretrain_steps", critic.pretrain_steps, 0)
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


def _check_retraining(settings: Settings) -> None:
    """What training the reward model on needs, and what is read only then."""
    one, algorithm = settings.retraining, settings.algorithm
    _at_least("retraining.steps", one.steps, 0)
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
    _at_least("retraining.batch_size", one.batch_size, 1)
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


NOT_RETRAINED = "where config.retraining.steps is 0"


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
    _one_of("reward.aggregation", reward.aggregation, AGGREGATIONS)
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


def check_judge(settings: Settings, kind: str) -> None:
    """What is read only of a reward model that judges steps; `kind` is what it was trained for."""
    if kind == "process":
        return
    reason = f"of config.reward.model={settings.reward.model!r}, which was trained for {kind}"
    unread(settings, ("reward.aggregation",), reason)
    if not settings.reward.steps:
        unread(settings, ("reward.step_separator",), reason)


def _check_examples(settings: Settings) -> None:
    """What training on examples in rows reads of `algorithm`, and what it does not."""
    algorithm = settings.algorithm
    micro_batch = rows_at_once(algorithm.micro_batch, algorithm.batch_size)
    _divides("algorithm.micro_batch", micro_batch, "algorithm.batch_size", algorithm.batch_size)
    _at_least("data.row_length", settings.data.row_length, 0)
    _one_of("data.long_prompts", settings.data.long_prompts, ("error", "drop"))
    _check_reduction(settings, ("sequence_mean", "token_mean"))
    others = (*OF_POLICY_GRADIENT, *OF_REWARD_MODEL, *OF_DISTILLATION)
    unread(settings, ("algorithm.group_size", *others), "by supervised training")


def check_reward_model(settings: Settings) -> None:
    """The keys of `recipes.reward_model`."""
    check_common(settings)
    algorithm, learned = settings.algorithm, settings.reward_model
    _one_of("reward_model.kind", learned.kind, KINDS)
    _one_of("reward_model.labels", learned.labels, ("rules", "rollouts", "file"))
    _at_least("reward_model.rollouts", learned.rollouts, 1)
    if not settings.reward.step_separator:
        raise UsageError("config.reward.step_separator='': expected the text that ends a step")
    _at_least("algorithm.micro_batch", algorithm.micro_batch, 0)
    by = "by the training of reward models"
    others = ("algorithm.reduction", "data.row_length", *OF_COLLECTING, *OF_PREFERENCE, *OF_DISTILLATION)
    unread(settings, (*OF_POLICY_GRADIENT, *others), by)
    keys: tuple[str, ...] = (
        "sampling.top_k",
        "sampling.min_p",
        "reward.overlong",
        "reward.model",
        "reward.aggregation",
    )
    unread(settings, (*keys, "data.solutions", "evaluation.samples_during"), by)
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
    _at_least("algorithm.group_size", settings.algorithm.group_size, 1)
    _at_least("sampling.batch_size", sampling.batch_size, 0)
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


def check_supervised(settings: Settings) -> None:
    """The keys of `recipes.supervised`."""
    check_common(settings)
    _check_examples(settings)
    by = "by supervised training"
    unread(settings, (*OF_SAMPLING, *OF_LEARNED_REWARDS, *OF_COLLECTING, *OF_PREFERENCE), by)


def check_rejection(settings: Settings) -> None:
    """The keys of `recipes.rejection`."""
    check_common(settings)
    _check_examples(settings)
    _check_collecting(settings)
    _at_least("collect.keep", settings.collect.keep, 0)
    unread(settings, ("data.solutions", *OF_PREFERENCE), "by rejection sampling")


def check_preference(settings: Settings) -> None:
    """The keys of `recipes.preference`."""
    check_common(settings)
    algorithm, preference = settings.algorithm, settings.preference
    _at_least("algorithm.micro_batch", algorithm.micro_batch, 0)
    _check_reduction(settings, ("sequence_sum", "sequence_mean"))
    _one_of("data.long_prompts", settings.data.long_prompts, ("error", "drop"))
    if not preference.beta > 0:
        raise UsageError(f"config.preference.beta={preference.beta!r}: expected more than 0")
    if settings.model.lora_path:
        raise UsageError(
            f"config.model.lora_path={settings.model.lora_path!r}: the reference is what lies beneath adapters, and "
            "not the policy as it starts; expected '', and config.model.path with the adapters merged into it"
        )
    by = "by preference training"
    unread(settings, ("algorithm.group_size", *OF_POLICY_GRADIENT, *OF_REWARD_MODEL, *OF_DISTILLATION), by)
    unread(settings, ("data.solutions", "data.row_length", "collect.keep"), by)
    if preference.pairs:
        _at_least("sampling.batch_size", settings.sampling.batch_size, 0)  # which evaluations read
        drawn = tuple(key for key in OF_SAMPLING if key != "sampling.batch_size")
        keys = (*drawn, *OF_LEARNED_REWARDS, *OF_COLLECTING, "preference.most")
        unread(settings, keys, "where config.preference.pairs names a file")
    else:
        _check_collecting(settings)
        _at_least("preference.most", preference.most, 1)


def check_distillation(settings: Settings) -> None:
    """The keys of `recipes.distillation`."""
    check_common(settings)
    algorithm, wanted = settings.algorithm, settings.distillation
    if not wanted.teacher:
        raise UsageError("config.distillation.teacher='': expected a Hugging Face folder or name")
    _one_of("distillation.divergence", wanted.divergence, DIVERGENCES)
    if wanted.divergence != "jsd":
        unread(settings, ("distillation.beta",), f"by config.distillation.divergence={wanted.divergence!r}")
    elif not 0 < wanted.beta < 1:
        raise UsageError(f"config.distillation.beta={wanted.beta!r}: expected more than 0, less than 1")
    if not wanted.temperature > 0:
        raise UsageError(f"config.distillation.temperature={wanted.temperature!r}: expected more than 0")
    _at_least("distillation.top_k", wanted.top_k, 0)
    if not 0 <= wanted.on_policy <= 1:
        raise UsageError(f"config.distillation.on_policy={wanted.on_policy!r}: expected 0 to 1")
    _at_least("algorithm.micro_batch", algorithm.micro_batch, 0)
    _at_least("sampling.batch_size", settings.sampling.batch_size, 0)
    _one_of("algorithm.reduction", algorithm.reduction, REDUCTIONS)
    _one_of("data.long_prompts", settings.data.long_prompts, ("error", "drop"))
    if wanted.on_policy == 1:
        unread(settings, ("distillation.completions",), "where config.distillation.on_policy is 1")
    elif not wanted.completions:
        raise UsageError(
            f"config.distillation.completions='': config.distillation.on_policy={wanted.on_policy!r} leaves steps that "
            "sample nothing; expected a file of completions"
        )
    if wanted.on_policy == 0:
        drawn = tuple(key for key in OF_SAMPLING if key != "sampling.batch_size")  # which evaluations read
        keys = (*drawn, "algorithm.group_size", "data.split", "data.problems")
        unread(settings, keys, "where config.distillation.on_policy is 0")
    else:
        _check_drawing(settings)
    if MODEL in settings.reward.names:
        raise UsageError(
            f"config.reward.names={settings.reward.names!r}: rewards are only measured, by rules; expected no 'model'"
        )
    others = (*OF_POLICY_GRADIENT, *OF_REWARD_MODEL, *OF_COLLECTING, *OF_PREFERENCE, *OF_LEARNED_REWARDS)
    unread(settings, (*others, "data.solutions", "data.row_length"), "by distillation")


def _check_drawing(settings: Settings) -> None:
    """What a step draws: groups of completions, so many at the same time."""
    sampling, algorithm = settings.sampling, settings.algorithm
    logits.check(sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p, "config.sampling.")
    if sampling.temperature == 0:
        raise UsageError("config.sampling.temperature=0: a policy is trained on samples; expected more than 0")
    _at_least("algorithm.group_size", algorithm.group_size, 1)
    _divides("algorithm.group_size", algorithm.group_size, "algorithm.batch_size", algorithm.batch_size)
    rows = rows_at_once(sampling.batch_size, algorithm.batch_size)
    _divides("sampling.batch_size", rows, "algorithm.batch_size", algorithm.batch_size)
    _divides("algorithm.group_size", algorithm.group_size, "sampling.batch_size", rows)


def _check_collecting(settings: Settings) -> None:
    """The keys of `recipes.collecting`."""
    sampling, collect = settings.sampling, settings.collect
    logits.check(sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p, "config.sampling.")
    _at_least("sampling.batch_size", sampling.batch_size, 0)
    _at_least("collect.samples", collect.samples, 1)
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


def check_generation(settings: Settings) -> None:
    """The keys of `recipes.generation`."""
    unread(settings, OF_PIPELINES, "by generating")
    _check_collecting(settings)
    _check_rules(settings)
    _at_least("seed", settings.seed, 0)
    _at_least("data.problems", settings.data.problems, 0)
    _at_least("data.max_prompt_length", settings.data.max_prompt_length, 1)
    _at_least("sampling.max_length", settings.sampling.max_length, 1)
    _at_least("generate.shard_size", settings.generate.shard_size, 1)
    _one_of("generate.format", settings.generate.format, FORMATS)
    _one_of("data.unreadable", settings.data.unreadable, ("error", "drop"))
    _one_of("data.long_prompts", settings.data.long_prompts, ("error", "drop"))
    path, url = settings.model.path, settings.endpoint.url
    if bool(path) == bool(url):
        told = "expected one of the two" if path else "expected one of them, which draws the samples"
        raise UsageError(f"config.model.path={path!r} and config.endpoint.url={url!r}: {told}")
    groups = ("algorithm", "critic", "retraining", "evaluation", "checkpoint", "log")
    keys: tuple[str, ...] = ("steps", "watchdog", "profile", "data.solutions", "data.row_length")
    keys += ("collect.threshold", "collect.keep")
    of_model = tuple(key for key in _keys("model") if key not in OF_SAMPLED_MODEL)
    unread(settings, (*keys, *of_model, *OF_REWARD_MODEL, *OF_PREFERENCE, *OF_DISTILLATION), "by generating")
    unread(settings, tuple(key for group in groups for key in _keys(group)), "by generating")
    if url:
        check_endpoint(settings.endpoint, "config.endpoint")
        keys = ("sampling.top_k", "sampling.min_p", "sampling.batch_size", *OF_SAMPLED_MODEL, *_keys("mesh"))
        keys += ("data.max_prompt_length", "data.long_prompts")
        unread(settings, keys, "where config.endpoint.url names a server")
    else:
        unread(settings, _keys("endpoint"), "where config.endpoint.url is empty")
    unread(settings, OF_LEARNED_REWARDS, "where completions are collected")


def check_select(settings: Settings) -> None:
    """The keys of `recipes.selecting`: those of `selection`, and how completions are graded."""
    wanted, reward = settings.selection, settings.reward
    if not wanted.inputs:
        raise UsageError("config.selection.inputs=(): expected folders that rl_reason.generate has made")
    _at_least("selection.keep", wanted.keep, 0)
    expected = "expected pairs (one of config.reward.names, least value)"
    for pair in wanted.least:
        if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[1], (int, float)):
            raise UsageError(f"config.selection.least={wanted.least!r}: {expected}")
        if pair[0] not in reward.names:
            raise UsageError(
                f"config.selection.least={wanted.least!r}: {pair[0]!r} is not one of config.reward.names="
                f"{reward.names!r}; {expected}"
            )
    if MODEL in reward.names:
        raise UsageError(
            f"config.reward.names={reward.names!r}: completions are selected by rules and judges; expected no 'model'"
        )
    _check_rules(settings)
    read = ("recipe", "seed", "selection", "reward", "judge")
    others = tuple(field.name for field in dataclasses.fields(Settings) if field.name not in read)
    unread(settings, (*others, *OF_LEARNED_REWARDS), "where completions are selected")


OF_RECIPES = {
    "distillation": check_distillation,
    "generate": check_generation,
    "policy_gradient": check_policy_gradient,
    "preference": check_preference,
    "rejection": check_rejection,
    "reward_model": check_reward_model,
    "select": check_select,
    "supervised": check_supervised,
}
"""`config.recipe` → what is wrong with its settings, told without data and devices."""
