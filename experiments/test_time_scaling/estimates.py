"""From the parts of all seeds to what is drawn: accuracy and tokens of each method at each size, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rl_reason.rewards.estimators import best_of, majority, mean_interval, pass_at_k

Row = Mapping[str, Any]
"""A problem of a part, as `run` keeps it: of each completion `tokens`, `correct`, `extracted`, `scores`; of a search
also their `shares`, and what it `spent` and `scored`."""
Parts = Sequence[Mapping[str, Sequence[Row]]]
"""Of each seed: part → its rows."""


def _pass(row: Row, k: int) -> float:
    return float(pass_at_k(np.array([sum(row["correct"])]), len(row["correct"]), k)[0])


def _majority(row: Row, k: int) -> float:
    return majority(row["extracted"], row["correct"], k)


def _best(row: Row, k: int) -> float:
    return best_of(row["scores"], row["correct"], k)


def _weighted(row: Row, k: int) -> float:
    """What a search has found votes also with its share of what was drawn: equal samples are there once."""
    weights = np.array(row["scores"]) * np.array(row.get("shares", 1.0))
    return majority(row["extracted"], row["correct"], k, weights.tolist())


CHOICES: dict[str, tuple[Callable[[Row, int], float], bool]] = {
    "any": (_pass, False),
    "majority": (_majority, False),
    "best": (_best, True),
    "weighted": (_weighted, True),
}
"""What is made of k samples, and whether the reward model reads them."""
SEARCHES = ("beam", "tree")


@dataclass(frozen=True)
class Point:
    """A method at one size; by problem, those of the seeds one behind the other."""

    size: int
    """Samples, samples a step, or simulations."""
    right_N: np.ndarray
    drawn_N: np.ndarray
    """Tokens that the policy drew."""
    read_N: np.ndarray
    """Tokens that the reward model read."""


def summarize(seeds: Parts) -> dict:
    """What is drawn and told.

    Returns:
        `scaling`: of each method its points; `compared`: differences between methods that spent about as many tokens;
        `before_after`: of problems as long as in training, and longer, pass@k and maj@k before and after RL.
    """
    count = len(seeds)
    rows = [row for seed in seeds for row in seed["trained-before"]]
    sizes = _sizes(rows)
    points = measure(seeds, "trained-before")
    return {
        "seeds": count,
        "problems": len(rows) // count,
        "samples": len(rows[0]["tokens"]),
        "scaling": {name: [told(point, count) for point in made] for name, made in points.items()},
        "compared": _compare(rows, points, count),
        "before_after": {
            data: {when: _before_after(seeds, f"{data}-{when}", sizes) for when in ("before", "after")}
            for data in ("trained", "longer")
        },
    }


def measure(seeds: Parts, part: str) -> dict[str, list[Point]]:
    """Of each way to spend tokens its points: of the samples in a part, and of the searches beside it."""
    rows = [row for seed in seeds for row in seed[part]]
    points = {"one": [_of_samples(rows, "any", 1)]}
    points |= {name: [_of_samples(rows, name, k) for k in _sizes(rows)[1:]] for name in CHOICES}
    for name in SEARCHES:
        points |= {name: _of_search(seeds, name, _best), f"{name}_vote": _of_search(seeds, name, _weighted)}
    return points


def _sizes(rows: Sequence[Row]) -> list[int]:
    return [2**i for i in range(len(rows[0]["tokens"]).bit_length())]


def _of_samples(rows: Sequence[Row], name: str, k: int) -> Point:
    estimate, reads = CHOICES[name]
    drawn_N = k * np.array([np.mean(row["tokens"]) for row in rows])
    return Point(k, np.array([estimate(row, k) for row in rows]), drawn_N, drawn_N * reads)


def _of_search(seeds: Parts, name: str, estimate: Callable[[Row, int], float]) -> list[Point]:
    """Of all solutions that a search has found the best one, or their vote."""
    made = []
    for size in sorted(int(part.split("-")[1]) for part in seeds[0] if part.startswith(f"{name}-")):
        rows = [row for seed in seeds for row in seed[f"{name}-{size}"]]
        right_N = np.array([estimate(row, len(row["scores"])) for row in rows])
        drawn_N, read_N = (np.array([row[key] for row in rows], float) for key in ("spent", "scored"))
        made.append(Point(size, right_N, drawn_N, read_N))
    return made


def _before_after(seeds: Parts, part: str, sizes: Sequence[int]) -> dict:
    rows = [row for seed in seeds for row in seed[part]]
    return {
        measure: [told(_of_samples(rows, name, k), len(seeds)) for k in sizes]
        for measure, name in (("pass", "any"), ("maj", "majority"))
    }


def told(point: Point, seeds: int) -> dict:
    """Means over problems, of the accuracy with the 95% interval by bootstrap over them, and by seed."""
    return {
        "size": point.size,
        "accuracy": float(point.right_N.mean()),
        "ci95": list(mean_interval(point.right_N)),
        "by_seed": [float(part.mean()) for part in np.split(point.right_N, seeds)],
        "drawn": float(point.drawn_N.mean()),
        "read": float(point.read_N.mean()),
    }


def _compare(rows: Sequence[Row], points: Mapping[str, Sequence[Point]], seeds: int) -> list[dict]:
    """Differences in accuracy, paired by problem: between choices among the same samples, and between a search and a
    choice among as many samples as have its tokens."""
    made = []
    for later, earlier in (("best", "majority"), ("weighted", "majority"), ("weighted", "best")):
        pairs = zip(points[later], points[earlier], strict=True)
        made += [_difference(later, earlier, a, b, seeds) for a, b in pairs]
    samples, mean = len(rows[0]["tokens"]), points["one"][0].drawn_N.mean()
    for name in SEARCHES:
        for later, other in ((name, "best"), (f"{name}_vote", "weighted")):
            for point in points[later]:
                k = round(point.drawn_N.mean() / mean)
                if 1 <= k <= samples:
                    made.append(_difference(later, other, point, _of_samples(rows, other, k), seeds))
    return made


def _difference(later: str, earlier: str, a: Point, b: Point, seeds: int) -> dict:
    difference_N = a.right_N - b.right_N
    return {
        "later": later,
        "earlier": earlier,
        "sizes": [a.size, b.size],
        "drawn": [float(a.drawn_N.mean()), float(b.drawn_N.mean())],
        "difference": float(difference_N.mean()),
        "ci95": list(mean_interval(difference_N)),
        "by_seed": [float(part.mean()) for part in np.split(difference_N, seeds)],
    }
