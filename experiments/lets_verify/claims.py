"""Whether what judges steps chooses better than what judges answers, and both better than the majority."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.claims import MORE, SAME, Claim, over_seeds
from experiments.lets_verify.run import COMPARED, LABELS, differences

SAID = (
    (MORE, "78.2 against 69.6 (Let's Verify, figure 3)"),
    (MORE, "78.2 against 72.4 (Let's Verify, figure 3)"),
    (MORE, "72.4 against 69.6 (Let's Verify, figure 3)"),
    (SAME, "78.2 against 77.6 (Let's Verify, appendix F)"),
    (MORE, "as best of N, 78.2 against 69.6: votes add nothing to that (Let's Verify, section 4)"),
)
"""Of each of `COMPARED` how far ahead the first is, and the paper's numbers on MATH-500, of 1860 samples."""
SHOWN = (4, 64)


def claims(results: Sequence[Mapping]) -> list[Claim]:
    return [
        over_seeds(
            f"of {size}, {LABELS[ahead]} − {LABELS[behind]}, points",
            f"MATH-500, of 1860: {paper}",
            differences(results, ahead, behind, size),
            bounds,
        )
        for (ahead, behind), (bounds, paper) in zip(COMPARED, SAID, strict=True)
        for size in SHOWN
    ]
