"""Half of PPO's memory: of the state, and of the peak; and whether plans are what is measured."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.claims import Bounds, Claim, exact
from experiments.ppo_vs_grpo_memory.run import PARTS

HALF = 60.0
"""Percent up to which it counts as "about half"."""
CLOSE = 5.0
"""Percent that a plan may be off."""


def claims(results: Mapping[str, Mapping]) -> list[Claim]:
    made = []
    for size, methods in results.items():
        grpo, ppo = methods["GRPO"], methods["PPO, critic of its own"]
        state, whole = (sum(one[name] for name in PARTS if name != "gradients") for one in (grpo, ppo))
        where = f"{size}, {methods['topology']}"
        for what, share, paper in (
            ("state", state / whole, "much less (DeepSeekMath, section 4.1.1: no bytes); often told as “about half”"),
            ("greatest peak", grpo["peak"] / ppo["peak"], "the same"),
        ):
            made.append(
                exact(f"{where}: {what}, GRPO ÷ PPO, %", paper, 100 * share, "a compiled plan", Bounds(below=HALF))
            )
    return made


def measured(results: Mapping[str, Mapping]) -> list[Claim]:
    return [
        exact(
            f"{method}: planned peak ÷ measured − 1, %",
            "–",
            100 * (one["planned"] / one["measured"] - 1),
            "one run",
            Bounds(-CLOSE, CLOSE),
            digits=1,
        )
        for method, one in results.items()
    ]
