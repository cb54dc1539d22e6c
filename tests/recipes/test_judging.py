"""What a reward model's scores are worth on held-out labels, by hand."""

import numpy as np
import pytest

from rl_reason.data.labelled import Judged
from rl_reason.recipes.judging import summarize


def judged(problem, ends, targets, correct=None, length=10):
    return Judged(problem, [1], [2] * length, ends, targets, correct)


def test_outcomes():
    """Two problems of three solutions; of the first the best one is right, of the second it is not."""
    told = [("a", 1, 0.9), ("a", 0, 0.6), ("a", 0, 0.1), ("b", 1, 0.4), ("b", 1, 0.3), ("b", 0, 0.8)]
    items = [(judged(problem, [9], [float(y)], bool(y)),) for problem, y, _ in told]
    record = summarize(items, [np.array([p], np.float32) for *_, p in told], "outcome")
    assert record["n"] == 2 and record["samples"] == 3 and record["share_right"] == 0.5
    assert record["accuracy"] == pytest.approx(2 / 6)
    # Pairs of a right one and a wrong one, nine, that are in order.
    assert record["auc"] == pytest.approx((3 + 1 + 1) / 9)
    assert record["pass@1"] == pytest.approx((1 / 3 + 2 / 3) / 2) and record["best@3"] == 0.5
    assert record["score/right"] == pytest.approx((0.9 + 0.4 + 0.3) / 3)
    low, high = record["accuracy_ci95"]
    assert 0 <= low <= record["accuracy"] <= high <= 1


def test_an_outcome_that_every_token_is_told_is_judged_at_the_last():
    items = [(judged("a", [0, 1], [1.0, 1.0], True, 2),), (judged("a", [0, 1], [0.0, 0.0], False, 2),)]
    record = summarize(items, [np.array([0.1, 0.9]), np.array([0.8, 0.2])], "outcome")
    assert record["accuracy"] == 1 and record["auc"] == 1 and record["best@2"] == 1


def test_steps():
    """What is not told counts for the solution, and not among the steps."""
    items = [
        (judged("a", [3, 6, 9], [1.0, 0.0, None], False),),
        (judged("a", [4, 9], [1.0, 1.0], True),),
        (judged("b", [9], [0.0], False),),
        (judged("b", [2, 9], [1.0, 1.0], True),),
    ]
    scores = [np.array(row) for row in ([0.9, 0.4, 0.99], [0.8, 0.7], [0.5], [0.6, 0.6])]
    record = summarize(items, scores, "process")
    right, wrong = [0.9, 0.8, 0.7, 0.6, 0.6], [0.4, 0.5]
    assert record["accuracy"] == pytest.approx(6 / 7)  # 0.5 is called right
    assert record["auc"] == 1 and record["score/wrong"] == pytest.approx(np.mean(wrong))
    assert record["score/right"] == pytest.approx(np.mean(right))
    # Products 0.356, 0.56, 0.5, 0.36; minima 0.4, 0.7, 0.5, 0.6.
    assert record["product/best@2"] == 0.5 and record["minimum/best@2"] == 1
    assert record["product/auc"] == pytest.approx(3 / 4) and record["minimum/auc"] == 1
    assert record["pass@1"] == 0.5


def test_steps_among_others():
    """A solution of one step, always wrong, is easily told; steps among others are not."""
    items = [(judged("a", [9], [0.0], False),)] * 8 + [(judged("a", [3, 9], [1.0, 0.0], False),)]
    record = summarize(items, [np.array([0.1])] * 8 + [np.array([0.5, 0.6])], "process")
    assert record["auc"] == pytest.approx(8 / 9) and record["several/auc"] == 0


def test_single_steps_say_nothing_of_solutions():
    items = [(judged("a", [9], [1.0]),), (judged("a", [9], [0.0]),)]
    record = summarize(items, [np.array([0.6]), np.array([0.7])], "process")
    assert record["auc"] == 0 and not any("@" in name for name in record)
    assert record["several/auc"] is None and "product/auc" not in record


def test_preferences():
    pairs = [(judged("a", [9], [1.0]), judged("a", [9], [0.0])) for _ in range(4)]
    scores = [np.array([x]) for x in (2.0, 1.0, 0.5, 3.0, 1.5, 1.5, -1.0, -4.0)]
    record = summarize(pairs, scores, "preference")
    assert record["accuracy"] == pytest.approx(2.5 / 4)  # equal scores: half
    assert record["margin"] == pytest.approx((1 - 2.5 + 0 + 3) / 4) and record["n"] == 1


def test_preferences_that_are_not_certain():
    """A share below 1/2 says that the other one is the better one; one of 1/2 says nothing."""
    pairs = [(judged("a", [9], [share]), judged("a", [9], [1 - share])) for share in (0.9, 0.2, 0.5, 0.5)]
    scores = [np.array([x]) for x in (2.0, 1.0, 0.5, 3.0, 9.0, 1.5, -9.0, 1.5)]
    assert summarize(pairs, scores, "preference")["accuracy"] == pytest.approx(3 / 4)


@pytest.mark.parametrize("scores, best", [((0.5, 0.5, 0.1), 0.5), ((0.1, 0.5, 0.5), 0.0), ((0.2, 0.2, 0.2), 1 / 3)])
def test_equal_scores_share_the_choice(scores, best):
    items = [(judged("a", [9], [float(y)], bool(y)),) for y in (1, 0, 0)]
    assert summarize(items, [np.array([p]) for p in scores], "outcome")["best@3"] == pytest.approx(best)


def test_problems_with_different_numbers_of_solutions_have_no_best_of_k():
    items = [(judged(problem, [9], [1.0], True),) for problem in ("a", "a", "b")]
    assert not any(name.startswith("best@") for name in summarize(items, [np.array([0.5])] * 3, "outcome"))
