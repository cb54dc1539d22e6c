"""Estimators against counting by hand."""

from itertools import combinations, product
from math import comb

import numpy as np
import pytest

from rl_reason.rewards.estimators import (
    ballots,
    best_of,
    between,
    majority,
    mean_interval,
    pass_at_k,
    resample,
    roc_auc,
    wilson_interval,
)


@pytest.mark.parametrize("samples", [1, 2, 5, 7])
def test_pass_at_k_counts_subsets(samples):
    for k in range(1, samples + 1):
        made = pass_at_k(np.arange(samples + 1), samples, k)
        for correct in range(samples + 1):
            outcomes = [1] * correct + [0] * (samples - correct)
            subsets = [any(subset) for subset in combinations(outcomes, k)]
            assert made[correct] == pytest.approx(sum(subsets) / len(subsets))


def test_pass_at_k_of_many_samples():
    """Binomials beyond floats."""
    made = pass_at_k(np.array([0, 1, 5000, 10_000]), 10_000, 1000)
    assert made[:2] == pytest.approx([0.0, 0.1]) and made[2:] == pytest.approx(1.0)
    assert np.isfinite(made).all()


@pytest.mark.parametrize("k", [0, 6])
def test_pass_at_k_needs_as_many_samples(k):
    with pytest.raises(ValueError, match=f"pass@{k} of 5"):
        pass_at_k(np.array([1]), 5, k)


@pytest.mark.parametrize(
    ("answers", "correct", "share"),
    [
        (["4", "4", "5"], [True, True, False], 1.0),
        (["4", "5", "5"], [True, False, False], 0.0),
        (["4", "5"], [True, False], 0.5),
        (["4", "5", "6"], [False, False, True], 1 / 3),
        (["4", "4", "5", "5", "6"], [False, False, True, True, False], 0.5),
        ([None, None, None, "4"], [False, False, False, True], 1.0),
        ([None, None], [False, False], 0.0),
        ([" 4", "4 ", "5"], [True, True, False], 1.0),
        (["1/2", "\\frac{1}{2}", "3", "3"], [True, True, False, False], 0.5),
        (["2", "2.0", "3"], [False, False, True], 0.0),
    ],
)
def test_majority(answers, correct, share):
    assert majority(answers, correct) == pytest.approx(share)
    assert majority(answers[::-1], correct[::-1]) == pytest.approx(share)


@pytest.mark.parametrize(
    ("answers", "correct", "expected"),
    [
        (["4", "5", "4.0", " 4 ", "5"], None, [0, 1, 0, 0, 1]),
        (["x", "X", " x", "\\frac12", "0.5"], None, [0, 1, 0, 2, 3]),
        ([None, "7", None, "7"], None, [-1, 0, -1, 0]),
        # Known to be right, they are one answer; what is wrong stays as it is written.
        (["\\frac12", "x", "0.5", "0.50", "y"], [True, False, True, False, False], [0, 1, 0, 2, 3]),
        ([None, "1"], [True, True], [-1, 0]),
        ([], None, []),
    ],
)
def test_what_is_the_same_answer(answers, correct, expected):
    assert ballots(answers, correct) == expected


def test_majority_is_the_expectation_of_a_drawn_winner():
    for answers in product("abc", repeat=4):
        most = max(answers.count(x) for x in answers)
        winners = [x for x in "abc" if answers.count(x) == most]
        expected = winners.count("a") / len(winners)
        assert majority(list(answers), [x == "a" for x in answers]) == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("weights", [None, [0.9, 0.1, 0.3, 0.2, 0.5], [0.25, 0.25, 0.5, 0.0, 0.0]])
def test_a_vote_of_k_is_the_mean_over_subsets(k, weights):
    answers, correct = ["4", "5", "4.0", None, "6"], [True, False, True, False, False]
    outcomes = []
    for subset in combinations(range(5), k):
        votes = {}
        for i in subset:
            if answers[i] is not None:
                name = answers[i].removesuffix(".0")
                votes[name] = votes.get(name, 0) + (1 if weights is None else weights[i])
        leading = [name for name, vote in votes.items() if vote > 0 and vote == pytest.approx(max(votes.values()))]
        outcomes.append(("4" in leading) / max(len(leading), 1))
    assert majority(answers, correct, k, weights) == pytest.approx(np.mean(outcomes))


def test_a_vote_of_some_of_many_samples_is_averaged_over_the_same_subsets():
    """Four of 64: more subsets than are counted. 40% are right, the others all differ."""
    correct = np.arange(64) % 5 < 2
    answers = ["1" if ok else str(i + 2) for i, ok in enumerate(correct)]
    made = majority(answers, correct, 4)
    # Of four, r right ones: alone on top from two on, one of four answers with one, none with none.
    expected = sum(np.prod([comb(26, r), comb(38, 4 - r)]) / comb(64, 4) * (1.0 if r > 1 else r / 4) for r in range(5))
    assert made == pytest.approx(expected, abs=0.06) and made == majority(answers, correct, 4)
    assert majority(answers, correct) == 1.0


@pytest.mark.parametrize("seed", range(10))
def test_the_best_of_k_counts_subsets(seed):
    rng = np.random.default_rng(seed)
    scores, correct = rng.integers(0, 4, 7) / 4, rng.random(7) < 0.5
    for k in range(1, 8):
        outcomes = []
        for subset in combinations(range(7), k):
            highest = scores[list(subset)].max()
            outcomes.append(np.mean([correct[i] for i in subset if scores[i] == highest]))
        assert best_of(scores, correct, k) == pytest.approx(np.mean(outcomes))


@pytest.mark.parametrize("k", [0, 4])
def test_the_best_of_k_needs_as_many_samples(k):
    with pytest.raises(ValueError, match=f"best of {k} among 3"):
        best_of([1, 2, 3], [True, False, True], k)


def test_columns_are_drawn_together():
    values = np.random.default_rng(0).random((1, 30))
    made = resample(np.concatenate([values, 2 * values]), 50)
    np.testing.assert_allclose(made[:, 1], 2 * made[:, 0])
    assert len(np.unique(made[:, 0])) > 40


def test_a_bound_among_infinite_draws_is_none():
    draws = np.array([1.0] * 90 + [np.inf] * 10)
    assert between(draws) == (1.0, None) and between(-draws) == (None, -1.0)
    assert between(np.append(np.ones(999), np.inf)) == (1.0, 1.0)


def test_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = {0.95: 0, 0.5: 0}
    for trial in range(200):
        values = rng.random(80) < 0.3
        for level in covered:
            low, high = mean_interval(values, level, draws=400, seed=trial)
            assert low <= values.mean() <= high
            covered[level] += low <= 0.3 <= high
    assert 0.88 <= covered[0.95] / 200 <= 0.99
    assert 0.36 <= covered[0.5] / 200 <= 0.64


def test_interval_is_as_wide_as_the_standard_error_says():
    values = np.random.default_rng(1).normal(2, 3, 400)
    low, high = mean_interval(values)
    expected = 1.96 * values.std() / 20
    assert high - values.mean() == pytest.approx(expected, rel=0.1)
    assert values.mean() - low == pytest.approx(expected, rel=0.1)
    assert mean_interval(values) == (low, high)
    assert mean_interval(np.ones(5)) == (1.0, 1.0)
    assert all(isinstance(bound, float) for bound in (low, high))


@pytest.mark.parametrize("count, n", [(0, 30), (1, 1), (14, 30), (25, 30), (30, 30), (198, 231)])
def test_wilson_interval(count, n):
    from scipy.stats import binomtest

    expected = binomtest(count, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(count, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_area_under_the_curve_counts_pairs(seed):
    rng = np.random.default_rng(seed)
    scores, right = rng.integers(0, 6, 40) / 4, rng.random(40) < 0.3
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[right] for b in scores[~right]]
    assert roc_auc(scores, right) == pytest.approx(np.mean(pairs))


def test_area_under_the_curve_at_its_ends():
    assert roc_auc(np.array([1.0, 2, 3]), np.array([False, True, True])) == 1
    assert roc_auc(np.array([1.0, 2, 3]), np.array([True, False, False])) == 0
    assert roc_auc(np.ones(5), np.arange(5) < 2) == 0.5
    assert roc_auc(np.ones(5), np.ones(5, bool)) is None and roc_auc(np.ones(5), np.zeros(5, bool)) is None
    assert np.isnan(roc_auc(np.array([np.nan, 1.0]), np.array([True, False])))
