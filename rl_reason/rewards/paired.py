"""Two evaluations on the same problems, problem by problem."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rl_reason.rewards.estimators import mean_interval


@dataclass(frozen=True)
class Paired:
    """What changed from a first to a second evaluation."""

    difference: float
    """Of pass@1, second − first."""
    interval: tuple[float, float]
    """Of the difference, 95%, by bootstrap over problems."""
    better: int
    """Problems whose share of right samples is greater in the second."""
    worse: int
    p: float
    """That better and worse differ by so much or more where both are as likely: the exact sign test, two-sided. With
    one sample each it is McNemar's exact test."""
    changes_N: np.ndarray
    """Of each problem."""


def compare(first_N: np.ndarray, second_N: np.ndarray) -> Paired:
    """Compares the shares of right samples of the same N problems."""
    changes_N = np.asarray(second_N, np.float64) - np.asarray(first_N, np.float64)
    better, worse = int((changes_N > 0).sum()), int((changes_N < 0).sum())
    return Paired(
        difference=float(changes_N.mean()),
        interval=mean_interval(changes_N),
        better=better,
        worse=worse,
        p=sign_test(better, worse),
        changes_N=changes_N,
    )


def sign_test(better: int, worse: int) -> float:
    """The chance that of `better` + `worse` fair coins the rarer side comes up no more often, or the other one."""
    n, rarer = better + worse, min(better, worse)
    # Whole numbers: exact for any n.
    tail = sum(math.comb(n, i) for i in range(rarer + 1))
    return min(1.0, 2 * tail / 2**n)
