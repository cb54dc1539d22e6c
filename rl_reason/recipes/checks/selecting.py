"""What is wrong with the settings of selecting among completions."""

from __future__ import annotations

import dataclasses

from rl_reason.errors import UsageError
from rl_reason.recipes.checks.common import OF_LEARNED_REWARDS, at_least, check_rules, unread
from rl_reason.rewards.combination import MODEL
from rl_reason.settings import Settings


def check_select(settings: Settings) -> None:
    """The keys of `recipes.selecting`: those of `selection`, and how completions are graded."""
    unread(settings, ("selection.pairs",), "by selecting: config.recipe='rank' makes pairs")
    _check_sieves(settings)


def check_rank(settings: Settings) -> None:
    """The keys of `recipes.ranking`: the same, and how many pairs are made."""
    at_least("selection.pairs", settings.selection.pairs, 1)
    _check_sieves(settings)
    if settings.selection.keep == 1:
        raise UsageError("config.selection.keep=1: leaves nothing to compare with; expected at least 2, or 0 for all")
    if not any(settings.reward.weights):
        raise UsageError(
            f"config.reward.weights={settings.reward.weights!r}: all completions have the reward 0; expected one that "
            "ranks them"
        )


def _check_sieves(settings: Settings) -> None:
    wanted, reward = settings.selection, settings.reward
    if not wanted.inputs:
        raise UsageError("config.selection.inputs=(): expected folders that rl_reason.generate has made")
    at_least("selection.keep", wanted.keep, 0)
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
    check_rules(settings)
    read = ("recipe", "seed", "selection", "reward", "judge")
    others = tuple(field.name for field in dataclasses.fields(Settings) if field.name not in read)
    unread(settings, (*others, *OF_LEARNED_REWARDS), "where completions are selected")
