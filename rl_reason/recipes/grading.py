"""Rewards on several hosts: each grades its share of the completions, all know the whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rl_reason.parallel import hosts
from rl_reason.rewards.combination import Graded, Rewarder
from rl_reason.runtime.clock import Clock


def grade(
    rewarder: Rewarder,
    completions: Sequence[str],
    problems: Sequence[Mapping],
    steps: Sequence[Sequence[str]] | None = None,
) -> Graded:
    """The rewards of B completions, each to the problem at the same index; the same on every host."""
    return begin_grading(rewarder, completions, problems, steps)()


def begin_grading(
    rewarder: Rewarder,
    completions: Sequence[str],
    problems: Sequence[Mapping],
    steps: Sequence[Sequence[str]] | None = None,
) -> Callable[..., Graded]:
    """The same while this thread does other things. What it returns, of an optional clock, waits: the clock's phase
    becomes "wait" where this host is done and others may not be."""
    mine = hosts.share(len(completions))
    graded = rewarder.begin(completions[mine], problems[mine], steps=None if steps is None else steps[mine])

    def wait(clock: Clock | None = None) -> Graded:
        share = graded()
        if clock:
            clock.begin("wait")
        return Graded.join([Graded.from_json(part) for part in hosts.gather(share.to_json())])

    return wait


def judge_counts(rewarder: Rewarder) -> dict[str, int]:
    """What the judge was asked since the last time (`runtime.endpoint.COUNTS`), on all hosts together; nothing where
    there is none."""
    counts = rewarder.take_judge_counts()
    of_hosts = hosts.gather(counts) if counts else []
    return {name: sum(one[name] for one in of_hosts) for name in counts}


def judge_metrics(rewarder: Rewarder) -> dict[str, float]:
    """The same for metrics.jsonl: `judge/calls` and so on."""
    return {f"judge/{name}": float(count) for name, count in judge_counts(rewarder).items()}
