"""Samples that are one update old: what they cost in learning, and what they gain in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.claims import LESS, SAME, Claim, over_seeds
from experiments.sampling_ahead.run import of


def claims(results: Sequence[Mapping]) -> list[Claim]:
    pairs = zip(of(results, "in turn"), of(results, "ahead"), strict=True)
    times = {
        grader: of(results, "ahead", grader)[0]["step_s"] / of(results, "in turn", grader)[0]["step_s"]
        for grader in ("rules", "waiting")
    }
    return [
        over_seeds(
            "pass@1, ahead − in turn, points",
            "some updates old train as well (AReaL, arXiv 2505.24298)",
            [b["after"]["pass@1"] - a["after"]["pass@1"] for a, b in pairs],
            SAME,
        ),
        *(
            over_seeds(f"time of a step, ahead ÷ in turn − 1, %, grader {label}", "–", [times[grader] - 1], LESS)
            for grader, label in (("rules", "of rules"), ("waiting", "that waits"))
        ),
    ]
