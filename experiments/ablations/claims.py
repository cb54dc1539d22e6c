"""GRPO's settings, one at a time. Only where a paper says which way a setting works is a direction claimed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.ablations.run import ARMS, differences
from experiments.claims import LESS, MORE, SAME, Bounds, Claim, over_seeds

NOT_VARIED = "not varied (DeepSeekMath, section 4.2: {})"
ACCURACY = (
    ("group4", NOT_VARIED.format("G 64"), SAME),
    ("group16", NOT_VARIED.format("G 64"), SAME),
    ("beta0", "dropped without a number (DAPO, section 2.3)", SAME),
    ("beta0.2", NOT_VARIED.format("β 0.04"), SAME),
    ("updates2", NOT_VARIED.format("one update"), SAME),
    ("updates4", NOT_VARIED.format("one update"), SAME),
    ("clip0.1", "not given (DeepSeekMath); 0.2 and 0.28, AIME 36 → 38 (DAPO, table 1)", SAME),
    ("clip0.4", "not given (DeepSeekMath); 0.2 and 0.28, AIME 36 → 38 (DAPO, table 1)", SAME),
    ("k1", "–", SAME),
    ("k2", "–", SAME),
    ("k3_weighted", "–", SAME),
    ("no_std", "as good (Dr. GRPO: curves)", SAME),
    ("sum", "–", SAME),
    ("token_mean", "AIME 41 → 42 (DAPO, table 1)", MORE),
    ("constant", "as good (Dr. GRPO: curves)", SAME),
)
"""Arm, what the paper gives, and the bounds of its pass@1 while learning beside the other's."""
OTHERS: tuple[tuple[str, str, str, str, Bounds, int], ...] = (
    ("beta0.2", "kl/reference", "KL at the end · 1000", "–", LESS, 1000),
    ("k1", "kl/reference", "KL at the end · 1000", "its gradient has mean 0: nothing is held back", MORE, 1000),
    ("updates4", "ratio/clipped", "tokens that are clipped, %", "–", MORE, 100),
    ("clip0.1", "ratio/clipped", "tokens that are clipped, %", "–", MORE, 100),
    ("clip0.4", "ratio/clipped", "tokens that are clipped, %", "–", LESS, 100),
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
