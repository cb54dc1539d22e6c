"""What R1's stages are for: the mixing of languages, what its end costs, and what the later stages add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.claims import LESS, Claim, over_seeds
from experiments.r1.run import WITHOUT

PLACE = "(DeepSeek-R1, version 1, section 2.3)"


def claims(results: Sequence[Mapping]) -> list[Claim]:
    def paired(later: str, earlier: str, measure: str) -> list[float]:
        after = [[result["stages"][stage]["after"][measure] for stage in (later, earlier)] for result in results]
        return [a - b for a, b in after]

    mixed, right = "language/mixed", "pass@1"
    return [
        over_seeds("mixing, R1-Zero − base, points", f"R1-Zero mixes languages {PLACE}", paired("zero", "base", mixed)),
        over_seeds(
            "mixing, reasoning with the language reward − without, points",
            f"ends the mixing {PLACE}",
            paired("reasoning", WITHOUT, mixed),
            LESS,
        ),
        over_seeds(
            "pass@1, reasoning with the language reward − without, points",
            f"costs a little {PLACE}",
            paired("reasoning", WITHOUT, right),
            LESS,
        ),
        over_seeds(
            "pass@1, base tuned on selected outputs − the policy that wrote them, points",
            "–",
            paired("tuned", "reasoning", right),
        ),
        over_seeds(
            "pass@1, all stages − R1-Zero, points",
            "AIME 2024: 79.8 against 71.0 (DeepSeek-R1, version 1, tables 2 and 4)",
            paired("all", "zero", right),
        ),
        over_seeds(
            "preference model's score of replies, last steps − first, in its units",
            "–",
            [result["replies"]["last"] - result["replies"]["joining"] for result in results],
            scale=1,
        ),
    ]
