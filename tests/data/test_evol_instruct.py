"""What a model is asked to make of a problem, and what is read of its reply."""

import pytest

from rl_reason.data.evol_instruct import DOWNWARD, UPWARD, evolve_downward, evolve_upward, evolved

PROBLEM = {"id": "a", "problem": "What is 2 + 3?", "answer": "5"}


@pytest.mark.parametrize("template, ways", [(evolve_upward, UPWARD), (evolve_downward, DOWNWARD)])
def test_each_way_is_taken_and_a_problem_keeps_its_own(template, ways):
    asked = [template(PROBLEM | {"id": str(n)})[0]["content"] for n in range(100)]
    assert all(PROBLEM["problem"] in text and "<problem>" in text for text in asked)
    counts = [sum(way in text for text in asked) for way in ways]
    assert sum(counts) == 100 and min(counts) > 50 / len(ways)
    assert template(PROBLEM) == template(dict(PROBLEM))


@pytest.mark.parametrize(
    "reply, expected",
    [
        ("So:\n<problem>\nWhat is 4 + 5?\n</problem>\n<answer> 9 </answer>\n", ("What is 4 + 5?", "9")),
        # The form that was asked for is spoken of before.
        ("Between <problem> and </problem>: <problem>1?</problem><answer>1</answer>", ("1?", "1")),
        ("<problem>A first one.</problem> No. <problem>B?</problem><answer>2</answer>", ("B?", "2")),
        ("<problem>What is 2+3?</problem><answer>5</answer>", None),  # the same
        ("<problem>What is 4 + 5?</problem>", None),
        ("<problem> </problem><answer>3</answer>", None),
        ("<problem>cut off", None),
        ("", None),
    ],
)
def test_what_is_read(reply, expected):
    made = evolved(reply, PROBLEM)
    assert made == (expected and dict(zip(("problem", "answer"), expected, strict=True)))
