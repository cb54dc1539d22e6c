"""Whether what judges steps chooses better than what judges answers, and both better than the majority."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.claims import MORE, SAME, Claim, over_seeds
from experiments.lets_verify.run import LABELS, MAJORITY, differences

PAIRS = (
    ("product", MAJORITY, MORE, "78.2 against 69.6 (Let's Verify, figure 3)"),
    ("product", "outcome", MORE, "78.2 against 72.4 (Let's Verify, figure 3)"),
    ("outcome", MAJORITY, MORE, "72.4 against 69.6 (Let's Verify, figure 3)"),
    ("product", "minimum", SAME, "78.2 against 77.6 (Let's Verify, appendix F)"),
)
"""Ahead, behind, how far, and the paper's numbers on MATH-500, of 1860 samples."""
SHOWN = (8, 64)


def claims(results: Sequence[Mapping]) -> list[Claim]:
    return [
        over_seeds(
            f"of {size}, {LABELS[ahead]} − {LABELS[behind]}, points",
            f"MATH-500, of 1860: {paper}",
            differences(results, ahead, behind, size),
            bounds,
        )
        for ahead, behind, bounds, paper in PAIRS
        for size in SHOWN
    ]
