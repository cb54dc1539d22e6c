"""What is wrong with the settings of learning from a teacher."""

from __future__ import annotations

from rl_reason.errors import UsageError
from rl_reason.objectives.distillation import DIVERGENCES
from rl_reason.objectives.reductions import REDUCTIONS
from rl_reason.recipes.checks.common import (
    OF_COLLECTING,
    OF_LEARNED_REWARDS,
    OF_POLICY_GRADIENT,
    OF_PREFERENCE,
    OF_REWARD_MODEL,
    OF_SAMPLING,
    at_least,
    check_common,
    check_drawing,
    one_of,
    unread,
)
from rl_reason.rewards.combination import MODEL
from rl_reason.settings import Settings


def check_distillation(settings: Settings) -> None:
    """The keys of `recipes.distillation`."""
    check_common(settings)
    algorithm, wanted = settings.algorithm, settings.distillation
    if not wanted.teacher:
        raise UsageError("config.distillation.teacher='': expected a Hugging Face folder or name")
    one_of("distillation.divergence", wanted.divergence, DIVERGENCES)
    if wanted.divergence != "jsd":
        unread(settings, ("distillation.beta",), f"by config.distillation.divergence={wanted.divergence!r}")
    elif not 0 < wanted.beta < 1:
        raise UsageError(f"config.distillation.beta={wanted.beta!r}: expected more than 0, less than 1")
    if not wanted.temperature > 0:
        raise UsageError(f"config.distillation.temperature={wanted.temperature!r}: expected more than 0")
    at_least("distillation.top_k", wanted.top_k, 0)
    if not 0 <= wanted.on_policy <= 1:
        raise UsageError(f"config.distillation.on_policy={wanted.on_policy!r}: expected 0 to 1")
    at_least("algorithm.micro_batch", algorithm.micro_batch, 0)
    at_least("sampling.batch_size", settings.sampling.batch_size, 0)
    one_of("algorithm.reduction", algorithm.reduction, REDUCTIONS)
    one_of("data.long_prompts", settings.data.long_prompts, ("error", "drop"))
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
        check_drawing(settings)
    if MODEL in settings.reward.names:
        raise UsageError(
            f"config.reward.names={settings.reward.names!r}: rewards are only measured, by rules; expected no 'model'"
        )
    others = (*OF_POLICY_GRADIENT, *OF_REWARD_MODEL, *OF_COLLECTING, *OF_PREFERENCE, *OF_LEARNED_REWARDS)
    unread(settings, (*others, "data.solutions", "data.row_length"), "by distillation")
