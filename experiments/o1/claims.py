"""Accuracy against compute, of training and of an answer."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.claims import Claim, over_seeds
from experiments.o1.run import STEPS

FIGURE = "rises, with the logarithm of compute, which is not tested here (o1, first figure)"


def claims(results: Mapping) -> list[Claim]:
    trained = {record["step"]: record["pass@1"] for record in results["training"]}
    first, middle, last = STEPS

    def point(step: int, method: str, size: int) -> list[float]:
        (found,) = [point for point in results["test_time"][str(step)][method] if point["size"] == size]
        return found["by_seed"]

    def paired(step: int, later: tuple[str, int], earlier: tuple[str, int]) -> list[float]:
        return [a - b for a, b in zip(point(step, *later), point(step, *earlier), strict=True)]

    training = lambda a, b: [y - x for x, y in zip(trained[a], trained[b], strict=True)]  # noqa: E731
    made = [
        over_seeds(f"pass@1, rise from before training to step {middle}, points", FIGURE, training(first, middle)),
        over_seeds(f"pass@1, rise from step {middle} to step {last}, points", FIGURE, training(middle, last)),
    ]
    one, majority, best = ("one", 1), ("majority", 64), ("best", 64)
    for step in (first, last):
        label = f"policy of step {step}"
        made += [
            over_seeds(
                f"{label}: majority of 64 − one sample, points",
                "AIME 2024: 83 against 74 (o1)",
                paired(step, majority, one),
            ),
            over_seeds(
                f"{label}: best of 64 by the learned score − majority of 64, points",
                "AIME 2024: 93, of 1000, against 83 (o1)",
                paired(step, best, majority),
            ),
            over_seeds(
                f"{label}: weighted majority of 16 − majority of 16, points",
                "–",
                paired(step, ("weighted", 16), ("majority", 16)),
            ),
        ]
    return made
