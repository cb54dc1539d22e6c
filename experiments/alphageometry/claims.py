"""The engine alone beside the paper's, and what a proposer of constructions adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.alphageometry.run import BEAMS, STAGES
from experiments.claims import Bounds, Claim, exact, over_seeds


def engine(results: Mapping[str, Mapping]) -> list[Claim]:
    return [
        exact(
            f"`{name}`: solved without a language model",
            f"{one['published']} / {one['n']} (AlphaGeometry, table 1 and extended data)",
            one["solved"],
            f"all {one['n']} problems",
            Bounds(above=one["published"]),
        )
        for name, one in results.items()
    ]


def claims(results: Sequence[Mapping]) -> list[Claim]:
    first, last = STAGES

    def solved(stage: str, beam: int) -> list[float]:
        of_seeds = [result["stages"][stage] for result in results]
        return [one["solved"][str(beam)] / one["n"] for one in of_seeds]

    def first_guess(stage: str) -> list[float]:
        return [result["stages"][stage]["sampled"]["pass@1"] for result in results]

    alone = [one["stages"][first]["alone"] / one["stages"][first]["n"] for one in results]
    wide, narrow = max(BEAMS), min(BEAMS)
    difference = lambda later, earlier: [a - b for a, b in zip(later, earlier, strict=True)]  # noqa: E731
    return [
        over_seeds(
            f"held-out problems, proposer with a beam of {wide} − the engine alone, points",
            "`imo_ag_30`: 25 against 14 / 30 (AlphaGeometry, table 1)",
            difference(solved(first, wide), alone),
        ),
        over_seeds(
            f"held-out problems, beam of {wide} − of {narrow}, points",
            "–",
            difference(solved(first, wide), solved(first, narrow)),
        ),
        over_seeds(
            "held-out problems, pass@1, reinforced − before, points",
            "–",
            difference(first_guess(last), first_guess(first)),
        ),
        over_seeds(
            f"held-out problems, beam of {wide}, reinforced − before, points",
            "–",
            difference(solved(last, wide), solved(first, wide)),
        ),
    ]
