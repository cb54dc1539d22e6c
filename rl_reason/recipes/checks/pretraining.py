"""What is wrong with the settings of continued pretraining."""

from __future__ import annotations

import math

from rl_reason.errors import UsageError
from rl_reason.recipes.accumulation import rows_at_once
from rl_reason.recipes.checks.common import (
    OF_COLLECTING,
    OF_DISTILLATION,
    OF_LEARNED_REWARDS,
    OF_POLICY_GRADIENT,
    OF_PREFERENCE,
    OF_REWARD_MODEL,
    OF_SAMPLING,
    at_least,
    check_common,
    check_reduction,
    divides,
    one_of,
    unread,
)
from rl_reason.settings import Settings


def check_pretraining(settings: Settings) -> None:
    """The keys of `recipes.pretraining`."""
    check_common(settings)
    algorithm, wanted, evaluation = settings.algorithm, settings.documents, settings.evaluation
    _check_sources(wanted.sources)
    at_least("documents.held_out_documents", wanted.held_out_documents, 0)
    one_of("documents.unreadable", wanted.unreadable, ("error", "drop"))
    names = wanted.held_out
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise UsageError(f"config.documents.held_out={names!r}: expected names of sources, each once")
    at_least("data.row_length", settings.data.row_length, 2)
    micro_batch = rows_at_once(algorithm.micro_batch, algorithm.batch_size)
    divides("algorithm.micro_batch", micro_batch, "algorithm.batch_size", algorithm.batch_size)
    one_of("data.long_prompts", settings.data.long_prompts, ("error", "drop"))
    check_reduction(settings, ("token_mean",))
    by = "by continued pretraining"
    unread(settings, ("data.name", "data.problems", "data.solutions", "algorithm.group_size"), by)
    unread(settings, (*OF_POLICY_GRADIENT, *OF_REWARD_MODEL, *OF_DISTILLATION, *OF_PREFERENCE, *OF_COLLECTING), by)
    unread(settings, (*OF_SAMPLING, *OF_LEARNED_REWARDS), by)
    if (evaluation.samples or evaluation.every) and not (evaluation.name or wanted.held_out):
        raise UsageError(
            "config.evaluation.name='': expected data sets to be evaluated on, or config.documents.held_out, or "
            "config.evaluation.samples=0"
        )


def _check_sources(sources: tuple) -> None:
    expected = "expected ((source, weight), …), each source once, with weights above 0"
    for pair in sources:
        if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) and pair[0]):
            raise UsageError(f"config.documents.sources={sources!r}: {expected}")
        weight = pair[1]
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
            raise UsageError(f"config.documents.sources={sources!r}: {pair[0]!r} has weight {weight!r}; {expected}")
    if not sources or len({name for name, _ in sources}) < len(sources):
        raise UsageError(f"config.documents.sources={sources!r}: {expected}")
