"""DeepSeekMath's unified view: of each method the gradient is that of its row."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.claims import Bounds, Claim, exact
from experiments.paradigm.run import TOLERANCE

SCALE = 1e6


def claims(results: Mapping[str, Mapping]) -> list[Claim]:
    """One line for the method that is furthest off: all stand for one identity."""
    name, worst = max(results.items(), key=lambda pair: pair[1]["difference"])
    return [
        exact(
            f"gradient of a method's loss beside Σ w · GC · ∇log π, relative difference · 10⁶, the greatest ({name})",
            "equal (DeepSeekMath, table 10)",
            SCALE * worst["difference"],
            f"{len(results)} methods, {worst['cases']} random batches each",
            Bounds(below=SCALE * TOLERANCE),
            1,
        )
    ]
