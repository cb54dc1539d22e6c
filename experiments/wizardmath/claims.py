"""What each line of evolution adds, and reinforcement with either reward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.claims import Claim, over_seeds
from experiments.wizardmath.run import HELD_OUT, PAIRS, PARTS, STAGES, gains


def claims(results: Sequence[Mapping]) -> list[Claim]:
    return [
        over_seeds(
            f"{STAGES[later]} − {STAGES[earlier]}{which}, problems {label}, pass@1, points",
            "later one ahead (arXiv 2308.09583)",
            gains(results, part, later, earlier, name),
        )
        for part, which in PARTS.items()
        for later, earlier in PAIRS[part]
        for name, label in HELD_OUT.items()
    ]
