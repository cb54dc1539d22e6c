"""Rewards on several hosts: each grades its share of the completions, all know the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rl_reason.parallel import hosts
from rl_reason.rewards.combination import Graded, Rewarder


def grade(
    rewarder: Rewarder,
    completions: Sequence[str],
    problems: Sequence[Mapping],
    steps: Sequence[Sequence[str]] | None = None,
) -> Graded:
    """The rewards of B completions, each to the problem at the same index; the same on every host."""
    mine = hosts.share(len(completions))
    graded = rewarder.grade(completions[mine], problems[mine], steps=None if steps is None else steps[mine])
    return Graded.join([Graded.from_json(part) for part in hosts.gather(graded.to_json())])
