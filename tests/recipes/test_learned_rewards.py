"""What a reward model's scores say of completions and of their steps, by hand."""

import numpy as np
import pytest

from rl_reason.recipes.learned_rewards import AGGREGATIONS, RewardModel

SCORES = np.array([[0.9, 0.5, 0.2, 0.8, 0.1], [0.4, 0.3, 0.6, 0.7, 0.9]], np.float32)
ENDS, LENGTHS = [[0, 1, 3], [2]], np.array([4, 3])
"""Behind its last step a completion has nothing."""


@pytest.mark.parametrize(
    "kind, aggregation, expected",
    [
        ("process", "product", [0.9 * 0.5 * 0.8, 0.6]),
        ("process", "minimum", [0.5, 0.6]),
        ("process", "last", [0.8, 0.6]),
        ("outcome", "product", [0.8, 0.6]),  # of the last token
        ("preference", "product", [0.8, 0.6]),
    ],
)
def test_of_completions(kind, aggregation, expected):
    judge = RewardModel(kind, score=None, aggregation=aggregation)
    np.testing.assert_allclose(judge.of_completions(SCORES, LENGTHS, ENDS), expected, rtol=1e-6)


def test_of_steps():
    made = RewardModel("process", score=None, aggregation="product").of_steps(SCORES, ENDS)
    assert [np.round(row, 6).tolist() for row in made] == [[0.9, 0.5, 0.8], [0.6]]
    assert set(AGGREGATIONS) == {"product", "minimum", "last"}  # a row above for each


@pytest.mark.parametrize("kind", ["outcome", "process", "preference"])
def test_scores_are_logits_but_of_preferences(kind):
    logits = np.array([[-1000.0, -1.0, 0.0, 3.0, 1000.0]], np.float32)

    class Score:
        def begin(self, params, batch):
            return lambda: logits

    made = RewardModel(kind, Score(), "product").begin({}, {})()
    probabilities = [[0, 1 / (1 + np.e), 0.5, 1 / (1 + np.exp(-3)), 1]]
    np.testing.assert_allclose(made, logits if kind == "preference" else probabilities, rtol=1e-6, atol=1e-7)
