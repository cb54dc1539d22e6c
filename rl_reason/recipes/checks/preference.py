"""What is wrong with the settings of training on pairs."""

from __future__ import annotations

from rl_reason.errors import UsageError
from rl_reason.recipes.checks.common import (
    OF_COLLECTING,
    OF_DISTILLATION,
    OF_LEARNED_REWARDS,
    OF_POLICY_GRADIENT,
    OF_REWARD_MODEL,
    OF_SAMPLING,
    at_least,
    check_collecting,
    check_common,
    check_reduction,
    one_of,
    unread,
)
from rl_reason.settings import Settings


def check_preference(settings: Settings) -> None:
    """The keys of `recipes.preference`."""
    check_common(settings)
    algorithm, preference = settings.algorithm, settings.preference
    at_least("algorithm.micro_batch", algorithm.micro_batch, 0)
    check_reduction(settings, ("sequence_sum", "sequence_mean"))
    one_of("data.long_prompts", settings.data.long_prompts, ("error", "drop"))
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
        at_least("sampling.batch_size", settings.sampling.batch_size, 0)  # which evaluations read
        drawn = tuple(key for key in OF_SAMPLING if key != "sampling.batch_size")
        keys = (*drawn, *OF_LEARNED_REWARDS, *OF_COLLECTING, "preference.most")
        unread(settings, keys, "where config.preference.pairs names a file")
    else:
        check_collecting(settings)
        at_least("preference.most", preference.most, 1)
