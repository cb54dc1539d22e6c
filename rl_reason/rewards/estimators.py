"""What several samples of a problem tell: pass@k, maj@k, the best of k; how sure the mean over problems is; and how
well scores tell right from wrong."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np

from rl_reason.rewards.numeric import parse_number

SUBSETS = 256
"""Of k samples, over which a vote of k is averaged."""
DRAWS = 2000
"""Bootstrap samples of an interval."""


def pass_at_k(correct_N: np.ndarray, samples: int, k: int) -> np.ndarray:
    """1 − C(n−c, k)/C(n, k) for each problem: the unbiased estimate of Chen et al. (arXiv 2107.03374, equation 1).

    Args:
        correct_N: int, right samples c of each problem.
        samples: n, at least k.
        k: samples that one may try.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"pass@{k} of {samples} samples: expected 1 ≤ k ≤ samples")
    # The product form of C(n−c, k)/C(n, k): each factor is the chance that one more try fails.
    tries = np.arange(k)
    failing = np.clip(samples - np.asarray(correct_N)[:, None] - tries, 0, None) / (samples - tries)
    return 1.0 - np.prod(failing, axis=1)


_RIGHT = object()
"""What all right answers vote for."""


def ballots(answers: Sequence[str | None], correct: Sequence[bool] | np.ndarray | None = None) -> list[int]:
    """For which answer each sample votes: numbers from 0 on, in the order in which answers occur; −1 without one.

    Equal numbers are one answer, and so are texts that are equal but for white space around them. Where it is known
    which answers are right, these are one, however they are written: what is wrong and written in two ways stays two.

    Args:
        answers: of the samples of one problem.
        correct: which of them are right; None: nobody knows yet.
    """
    names: dict[object, int] = {}
    made = []
    for answer, ok in zip(answers, [False] * len(answers) if correct is None else correct, strict=True):
        number = None if answer is None or ok else parse_number(answer)
        name = _RIGHT if ok else answer.strip() if answer is not None and number is None else number
        made.append(-1 if answer is None else names.setdefault(name, len(names)))
    return made


def leaders(votes_SC: np.ndarray) -> np.ndarray:
    """Which of C answers have the most votes, and any: bool [S, C]. Weights are added up in different orders, so votes
    that differ by rounding only are equally many."""
    return (votes_SC >= votes_SC.max(axis=1, keepdims=True) * (1 - 1e-9)) & (votes_SC > 0)


def majority(
    answers: Sequence[str | None],
    correct: Sequence[bool] | np.ndarray,
    k: int = 0,
    weights: Sequence[float] | np.ndarray | None = None,
) -> float:
    """Whether the most frequent answer of one problem's samples is right (self-consistency, arXiv 2203.11171).

    Samples without an answer do not vote; what counts as the same answer says `ballots`, to which it is told what is
    right. Among answers with equally many votes one is drawn: the result is the share of right ones, which is the
    expectation. No votes: 0.

    Args:
        answers: of the n samples of one problem.
        correct: which of them are right.
        k: how many of the samples vote; 0: all. The result is then the mean over subsets of k samples, an unbiased
            estimate of what k samples give: over all of them where these are at most `SUBSETS`, else over so many that
            are drawn, the same ones for each problem.
        weights: of the votes, at least 0; they count 1 each otherwise.
    """
    ballots_N = np.array(ballots(answers, correct), int)
    right = ballots_N[np.asarray(correct, bool) & (ballots_N >= 0)]
    if not right.size:
        return 0.0
    votes_NC = (ballots_N[:, None] == np.arange(ballots_N.max() + 1)) * (
        1.0 if weights is None else np.asarray(weights)[:, None]
    )
    leading_SC = leaders(_subsets(len(answers), k or len(answers)) @ votes_NC)
    return float((leading_SC[:, right[0]] / np.maximum(leading_SC.sum(axis=1), 1)).mean())


def best_of(scores: Sequence[float] | np.ndarray, correct: Sequence[bool] | np.ndarray, k: int) -> float:
    """How often the sample with the highest score of k is right: the mean over all subsets of k of n samples.

    The one of rank i from above is the best of C(n−1−i, k−1) of the C(n, k) subsets. Equal scores share the choice.
    """
    scores_N, right_N = np.asarray(scores, np.float64), np.asarray(correct, np.float64)
    n = len(scores_N)
    if not 1 <= k <= n:
        raise ValueError(f"best of {k} among {n} samples: expected 1 ≤ k ≤ samples")
    _, group_N, counts = np.unique(-scores_N, return_inverse=True, return_counts=True)
    shared_N = (np.bincount(group_N, right_N) / counts)[group_N]
    # C(n−1−i, k−1)/C(n, k) as a product: the first i are not drawn, and the next one is.
    chances, left = [], 1.0
    for i in range(n):
        chances.append(left * k / (n - i))
        left *= max(n - i - k, 0) / (n - i)
    return float(np.dot(chances, shared_N[np.argsort(-scores_N, kind="stable")]))


@functools.cache
def _subsets(n: int, k: int) -> np.ndarray:
    """Subsets of k of n, float64 [S, n] of zeros and ones: all of them, or `SUBSETS` drawn ones."""
    if math.comb(n, k) <= SUBSETS:
        rows = np.array(list(itertools.combinations(range(n), k)))
    else:
        rows = np.random.default_rng((n, k)).random((SUBSETS, n)).argsort(axis=1)[:, :k]
    made = np.zeros((len(rows), n))
    np.put_along_axis(made, rows, 1.0, axis=1)
    return made


def resample(columns_CN: np.ndarray, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Means of bootstrap samples of N problems, float64 [draws, C]; the same problems are drawn for all columns."""
    columns_CN = np.asarray(columns_CN, np.float64)
    n = columns_CN.shape[1]
    rng = np.random.default_rng(seed)
    counts = (np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(draws))
    return np.stack([columns_CN @ count / n for count in counts])


def mean_interval(values_N: np.ndarray, level: float = 0.95, draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """Bootstrap interval of the mean over problems: [low, high]."""
    low, high = between(resample(np.asarray(values_N)[None], draws, seed)[:, 0], level)
    assert low is not None and high is not None
    return low, high


def wilson_interval(count: int, n: int) -> tuple[float, float]:
    """The 95% interval of a share, of which `count` of `n` were seen: the shares that these are within 1.96 standard
    errors of (Wilson, 1927). Unlike resampling it does not take it for certain that what was never seen never is."""
    z = 1.959964
    middle, scale = (count + z * z / 2) / (n + z * z), n / (n + z * z)
    reach = z * scale * math.sqrt(count * (n - count) / n**3 + (z / (2 * n)) ** 2)
    return max(middle - reach, 0.0), min(middle + reach, 1.0)


def between(draws: np.ndarray, level: float = 0.95) -> tuple[float | None, float | None]:
    """The middle of what was drawn, [low, high]; None for a bound that lies among infinite ones."""
    tails = [(1 - level) / 2, (1 + level) / 2]
    # Between an infinite draw and its neighbour there is nothing to interpolate.
    all_finite = np.isfinite(draws).all()
    low, high = np.quantile(draws, tails) if all_finite else np.quantile(draws, tails, method="nearest")
    return (float(low) if math.isfinite(low) else None), (float(high) if math.isfinite(high) else None)


def roc_auc(scores_N: np.ndarray, right_N: np.ndarray) -> float | None:
    """The area under the ROC curve: the chance that something right has a higher score than something wrong.

    Equal scores count one half. None where all are right, or all wrong. Not a number among the scores: neither is it.
    """
    scores_N, right_N = np.asarray(scores_N, np.float64), np.asarray(right_N, bool)
    right = int(right_N.sum())
    wrong = len(right_N) - right
    if not right or not wrong:
        return None
    if not np.isfinite(scores_N).all():
        return float("nan")
    # Mann and Whitney's U by ranks, those of equal scores being their mean.
    _, which, counts = np.unique(scores_N, return_inverse=True, return_counts=True)
    ranks_N = (np.cumsum(counts) - (counts - 1) / 2)[which]
    return float((ranks_N[right_N].sum() - right * (right + 1) / 2) / (right * wrong))
