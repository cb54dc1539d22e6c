"""GRPO's settings, one at a time. Only where a paper says which way a setting works is a direction claimed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.ablations.run import ARMS, differences
from experiments.claims import LESS, MORE, NONE, SAME, Bounds, Claim, over_seeds

ACCURACY = (
    ("group4", NONE, SAME),
    ("group16", NONE, SAME),
    ("beta0", "dropped without a number (DAPO, section 2.3)", SAME),
    ("beta0.2", NONE, SAME),
    ("updates2", NONE, SAME),
    ("updates4", NONE, SAME),
    ("clip0.1", NONE, SAME),
    ("clip0.4", NONE, SAME),
    ("k1", NONE, SAME),
    ("k2", NONE, SAME),
    ("k3_weighted", NONE, SAME),
    ("no_std", "as good (Dr. GRPO: curves)", SAME),
    ("sum", NONE, SAME),
    ("token_mean", "AIME 41 → 42 (DAPO, table 1)", MORE),
    ("constant", "as good (Dr. GRPO: curves)", SAME),
)
"""Arm, what a paper shows of it, and the bounds of its pass@1 while learning beside the other's."""
OTHERS: tuple[tuple[str, str, str, str, Bounds, int], ...] = (
    ("beta0.2", "kl/reference", "KL at the end · 1000", NONE, LESS, 1000),
    ("k1", "kl/reference", "KL at the end · 1000", NONE, MORE, 1000),
    ("updates4", "ratio/clipped", "tokens that are clipped, %", NONE, MORE, 100),
    ("clip0.1", "ratio/clipped", "tokens that are clipped, %", NONE, MORE, 100),
    ("clip0.4", "ratio/clipped", "tokens that are clipped, %", NONE, LESS, 100),
    ("constant", "tokens/wrong", "tokens of a wrong completion", "shorter (Dr. GRPO: curves)", LESS, 1),
)


def claims(results: Mapping[str, Sequence[Mapping]]) -> list[Claim]:
    compared = lambda name: f"{ARMS[name].label} − {ARMS[ARMS[name].beside].label}"  # noqa: E731
    return [
        *(
            over_seeds(
                f"{compared(name)}, pass@1 while learning, points",
                paper,
                differences(results, name, "learning"),
                bounds,
            )
            for name, paper, bounds in ACCURACY
        ),
        *(
            over_seeds(f"{compared(name)}, {what}", paper, differences(results, name, measure), bounds, scale, 2)
            for name, measure, what, paper, bounds, scale in OTHERS
        ),
    ]
