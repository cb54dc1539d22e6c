"""What continued pretraining gives to few-shot answers, and a majority to these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.claims import Claim, over_seeds
from experiments.minerva.run import MIXTURE

PLACE = "(Minerva, table 3, 540B)"


def claims(results: Mapping[str, Sequence[Mapping]]) -> list[Claim]:
    read = [run["answers"] for run in results[MIXTURE]]
    general = [run["answers"][-1]["greedy"] for run in results["general"]]
    return [
        over_seeds(
            "greedy, after reading − before, points",
            f"MATH: 8.8 → 33.6 {PLACE}",
            [one[-1]["greedy"] - one[0]["greedy"] for one in read],
        ),
        over_seeds(
            "greedy, mathematical text − general text alone, points",
            "–",
            [one[-1]["greedy"] - other for one, other in zip(read, general, strict=True)],
        ),
        over_seeds(
            "majority of 16 − greedy, after reading, points",
            f"MATH: 50.3, k = 64, against 33.6 {PLACE}",
            [one[-1]["maj@16"] - one[-1]["greedy"] for one in read],
        ),
    ]
