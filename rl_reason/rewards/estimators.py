"""What several samples of a problem tell: pass@1, pass@k, maj@k, and how sure the mean over problems is; and how well
scores tell right from wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from rl_reason.rewards.numeric import parse_number

_RIGHT = object()
"""What all right answers vote for."""


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


def majority(answers: Sequence[str | None], correct: Sequence[bool]) -> float:
    """Whether the most frequent answer of one problem's samples is right (self-consistency, arXiv 2203.11171).

    Samples without an answer do not vote. Right answers vote together however they are written, and so do equal
    numbers. Among answers with equally many votes one is drawn: the result is the share
    of right ones, which is the expectation. No votes: 0.
    """
    votes: Counter = Counter()
    for answer, ok in zip(answers, correct, strict=True):
        if answer is not None:
            number = parse_number(answer)
            votes[_RIGHT if ok else answer.strip() if number is None else number] += 1
    if not votes:
        return 0.0
    most = max(votes.values())
    leading = [answer for answer, count in votes.items() if count == most]
    return (_RIGHT in leading) / len(leading)


def mean_interval(values_N: np.ndarray, level: float = 0.95, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Bootstrap interval of the mean over problems: [low, high]."""
    values_N = np.asarray(values_N, np.float64)
    rng = np.random.default_rng(seed)
    means = values_N[rng.integers(0, len(values_N), (draws, len(values_N)))].mean(axis=1)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


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
