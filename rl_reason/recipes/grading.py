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


def judge_counts(rewarder: Rewarder) -> dict[str, int]:
    """What the judge was asked since the last time (`runtime.endpoint.COUNTS`), on all hosts together; nothing where
    there is none."""
    counts = rewarder.take_judge_counts()
    of_hosts = hosts.gather(counts) if counts else []
    return {name: sum(one[name] for one in of_hosts) for name in counts}


def judge_metrics(rewarder: Rewarder) -> dict[str, float]:
    """The same for metrics.jsonl: `judge/calls` and so on."""
    return {f"judge/{name}": float(count) for name, count in judge_counts(rewarder).items()}
