"""The comparison of two evaluations against counting by hand, scipy, and what chance gives."""

from itertools import product

import numpy as np
import pytest

from rl_reason.rewards.paired import compare, sign_test


@pytest.mark.parametrize(("better", "worse"), [(0, 0), (1, 0), (3, 3), (5, 1), (0, 6), (7, 2)])
def test_the_sign_test_counts_outcomes(better, worse):
    n, difference = better + worse, abs(better - worse)
    extreme = sum(abs(2 * sum(coins) - n) >= difference for coins in product((0, 1), repeat=n))
    assert sign_test(better, worse) == pytest.approx(extreme / 2**n)


def test_the_sign_test_is_exact_where_floats_overflow():
    stats = pytest.importorskip("scipy.stats")
    for better, worse in ((1100, 1000), (3000, 10), (700, 700)):
        expected = stats.binomtest(better, better + worse).pvalue
        assert sign_test(better, worse) == pytest.approx(expected, rel=1e-6, abs=1e-300)


def test_what_changed():
    made = compare(np.array([0.0, 1.0, 0.5, 0.5]), np.array([1.0, 0.75, 0.5, 1.0]))
    assert made.difference == pytest.approx(0.3125) and (made.better, made.worse) == (2, 1)
    assert made.changes_N.tolist() == [1.0, -0.25, 0.0, 0.5]
    assert made.interval[0] < made.difference < made.interval[1] and made.p == 1.0


def test_pairs_tell_more_than_two_intervals():
    """Problems differ much, models little: unpaired intervals overlap, the paired one does not hold 0."""
    rng = np.random.default_rng(0)
    first = rng.random(300)
    second = np.clip(first + rng.normal(0.03, 0.02, 300), 0, 1)
    made = compare(first, second)
    assert made.interval[0] > 0.02 and made.interval[1] - made.interval[0] < 0.01 and made.p < 1e-9
