"""A rating on the scale of Codeforces from how often each rated problem is solved (DeepSeek-R1, arXiv 2501.12948)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rl_reason.rewards.estimators import DRAWS, between

_SCALE = 400 / math.log(10)
"""Points by which the odds of solving a problem change e-fold."""


def elo(ratings_N: np.ndarray, rates_N: np.ndarray, draws: int = DRAWS, seed: int = 0) -> dict[str, Any]:
    """The maximum-likelihood rating r of a solver whose chance at a problem of rating d is 1/(1 + 10^((d − r)/400)).

    Args:
        ratings_N: d of each problem.
        rates_N: share of its samples that solve it, in [0, 1].

    Returns:
        `elo`, and its interval `elo_ci95` by bootstrap over problems, of which a bound is None where too many draws
        hold only problems that all samples solve, or none. Where that holds of the problems themselves `elo` is
        None, and `elo_reason` says why. `elo_n`: how many problems.
    """
    ratings_N, rates_N = np.asarray(ratings_N, np.float64), np.asarray(rates_N, np.float64)
    rng = np.random.default_rng(seed)
    n = len(ratings_N)
    # The first row is the problems themselves, each counted once.
    counts_MN = np.stack([np.ones(n), *(np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(draws))])
    made_M = _rating(ratings_N, rates_N, counts_MN)
    if not math.isfinite(made_M[0]):
        reason = "every sample solved its problem" if made_M[0] > 0 else "no sample solved its problem"
        return {"elo": None, "elo_ci95": [None, None], "elo_n": n, "elo_reason": f"{reason}: no greatest likelihood"}
    return {"elo": float(made_M[0]), "elo_ci95": list(between(made_M[1:])), "elo_n": n}


def _rating(ratings_N: np.ndarray, rates_N: np.ndarray, counts_MN: np.ndarray) -> np.ndarray:
    """Where the expected number of solved problems is that found, [M]: the likelihood's derivative is their
    difference. Infinite where all or none are solved."""
    solved_M, n = counts_MN @ rates_N, counts_MN[0].sum()
    with np.errstate(divide="ignore"):
        odds_M = np.log(solved_M) - np.log(np.maximum(n - solved_M, 0))
    finite_M = np.isfinite(odds_M)
    # If all problems were as easy as the easiest, or as hard as the hardest one.
    low_M, high_M = (np.where(finite_M, d + _SCALE * odds_M, 0.0) for d in (ratings_N.min(), ratings_N.max()))
    for _ in range(60):
        middle_M = (low_M + high_M) / 2
        chances_MN = 0.5 * (1 + np.tanh((middle_M[:, None] - ratings_N) / (2 * _SCALE)))
        too_low_M = (counts_MN * chances_MN).sum(axis=1) < solved_M
        low_M, high_M = np.where(too_low_M, middle_M, low_M), np.where(too_low_M, high_M, middle_M)
    return np.where(finite_M, (low_M + high_M) / 2, odds_M)
