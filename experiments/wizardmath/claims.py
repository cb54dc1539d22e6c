"""What each line of evolution adds, and reinforcement with either reward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.claims import Claim, over_seeds
from experiments.wizardmath.run import HELD_OUT, STAGES

PAIRS = (
    ("tuned_downward", "tuned_original"),
    ("tuned_upward", "tuned_downward"),
    ("product", "tuned_upward"),
    ("minimum", "tuned_upward"),
)
"""Later, earlier: each is said to be ahead. PPO begins from the model of all three pools, with either reward."""


def claims(results: Sequence[Mapping]) -> list[Claim]:
    return [
        over_seeds(
            f"{STAGES[later]} − {STAGES[earlier]}, problems {label}, pass@1, points",
            "later one ahead (WizardMath)",
            [one["stages"][later][name]["pass@1"] - one["stages"][earlier][name]["pass@1"] for one in results],
        )
        for later, earlier in PAIRS
        for name, label in HELD_OUT.items()
    ]
