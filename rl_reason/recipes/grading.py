"""Rewards on several hosts: each grades its share of the completions, all know the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rl_reason.parallel import hosts
from rl_reason.rewards.combination import Graded, Rewarder
from rl_reason.runtime.clock import Clock


def grade(
    rewarder: Rewarder,
    completions: Sequence[str],
    problems: Sequence[Mapping],
    steps: Sequence[Sequence[str]] | None = None,
    clock: Clock | None = None,
) -> Graded:
    """The rewards of B completions, each to the problem at the same index; the same on every host. The clock's phase
    becomes "wait" where this one is done and others may not be."""
    mine = hosts.share(len(completions))
    graded = rewarder.grade(completions[mine], problems[mine], steps=None if steps is None else steps[mine])
    if clock:
        clock.begin("wait")
    return Graded.join([Graded.from_json(part) for part in hosts.gather(graded.to_json())])


def judge_metrics(rewarder: Rewarder) -> dict[str, float]:
    """What the judge was asked since the last time, on all hosts together, as `judge/calls` and so on; nothing where
    there is none."""
    counts = rewarder.take_judge_counts()
    if not counts:
        return {}
    of_hosts = hosts.gather(counts)
    return {f"judge/{name}": float(sum(one[name] for one in of_hosts)) for name in counts}
