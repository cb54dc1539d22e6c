"""Which of the questions that were drawn a step trains on."""

import dataclasses

import numpy as np

from rl_reason.data.iterators import EncodedPrompt
from rl_reason.recipes.evaluation import Samples
from rl_reason.recipes.exploration import OVERLONG, Exploration
from rl_reason.rewards.combination import KINDS, Graded
from rl_reason.rewards.length import overlong_penalty

G = 3


def make(rewards, first=0, failures=()):
    """Questions with these rewards; everything else tells which completion it belongs to."""
    rewards = np.array(rewards, np.float32)
    count = rewards.size
    names = [f"{first + q}/{g}" for q in range(len(rewards)) for g in range(G)]
    numbers = np.arange(count) + first * G
    return Exploration(
        asked=[EncodedPrompt(first + q, [1]) for q in range(len(rewards))],
        problems=[{"id": name} for name in names],
        texts=names,
        samples=Samples(numbers[:, None], numbers[:, None] / 10, numbers, numbers % 2 == 0),
        graded=Graded(
            rewards.reshape(-1), {"a": rewards.reshape(-1)}, names, names, dict.fromkeys(KINDS, 1), list(failures)
        ),
    )


def test_questions_whose_completions_differ_come_first():
    first = make([[0, 0, 0], [0, 1, 0], [1, 1, 1]])
    second = make([[1, 0, 1], [0, 0, 0], [0, 0, 1]], first=3, failures=[{"index": 8, "kind": "crash"}])
    drawn = Exploration.join([first, second])
    assert drawn.group_size == G and drawn.differing().tolist() == [1, 3, 5]
    trained = drawn.first_differing(3)
    assert [prompt.index for prompt in trained.asked] == [1, 3, 5]
    names = [f"{q}/{g}" for q in (1, 3, 5) for g in range(G)]
    assert trained.texts == [problem["id"] for problem in trained.problems] == trained.graded.verdicts == names
    np.testing.assert_array_equal(trained.graded.total, [0, 1, 0, 1, 0, 1, 0, 0, 1])
    np.testing.assert_array_equal(trained.samples.lengths, [3, 4, 5, 9, 10, 11, 15, 16, 17])
    np.testing.assert_array_equal(trained.samples.tokens[:, 0], trained.samples.lengths)
    # Question 5's last completion was the last of all.
    assert trained.graded.failures == [{"index": 8, "kind": "crash"}]
    assert trained.graded.counts == dict.fromkeys(KINDS, 2)


def test_what_is_missing_stays_as_it_was_drawn():
    drawn = make([[0, 0, 0], [0, 1, 0], [1, 1, 1], [1, 1, 1]])
    trained = drawn.first_differing(3)
    assert [prompt.index for prompt in trained.asked] == [0, 1, 2]


def test_what_a_group_is_compared_by():
    """Not by the penalty on long completions, and of steps by all of a group, what is given for the whole counted with
    the last step."""
    drawn = make([[1, 1, 1], [0, 0.7, 0], [0.1, 0.1, 0.1]])
    late = np.array([0, -0.3, -0.7, 0, -0.7, 0, -0.1, 0, 0], np.float32)
    late_too = dataclasses.replace(drawn, graded=drawn.graded.plus(OVERLONG, late))
    assert late_too.differing().tolist() == [1]
    steps = [[1, 0], [1, 0], [0, 0], [0.3], [0.3, 0.3, -0.4], [0.3], [0.1, 0.1], [0.2], [0.2]]
    by_steps = dataclasses.replace(drawn, graded=dataclasses.replace(drawn.graded, steps=steps))
    assert by_steps.differing().tolist() == [0, 2]  # 1 + 1 and 1; 0.3 throughout; 0.1 and 0.2


def test_overlong_penalty():
    """DAPO's equation 13, in tokens."""
    limit, margin = 100, 20
    expected = []
    for n in range(1, 101):
        expected.append(0 if n <= limit - margin else ((limit - margin) - n) / margin)
    np.testing.assert_allclose(overlong_penalty(np.arange(1, 101), limit, margin), expected, rtol=1e-6)
    assert overlong_penalty(np.array([100]), limit, margin)[0] == -1
    np.testing.assert_array_equal(
        overlong_penalty(np.arange(1, 101), limit, 0.2), overlong_penalty(np.arange(1, 101), limit, margin)
    )


def test_what_passes():
    """By the verdict, whatever the reward; one that failed is none."""
    drawn = make([[1, 1, 1], [0, 0.7, 0], [0.1, 0.1, 0.1]])
    verdicts = ["correct", "wrong", "correct", "unparseable", "timeout", "crash", "correct", "correct", "correct"]
    drawn = dataclasses.replace(drawn, graded=dataclasses.replace(drawn.graded, verdicts=verdicts))
    assert drawn.passes().tolist() == [2, 0, 3]
    unjudged = [*verdicts[:3], *["unjudged"] * 3, *verdicts[6:]]
    drawn = dataclasses.replace(drawn, graded=dataclasses.replace(drawn.graded, verdicts=unjudged))
    np.testing.assert_array_equal(drawn.passes(), [2, np.nan, 3])
