"""The weighted sum of rewards, and what becomes of rewards that misbehave."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rl_reason.errors import RunError, UsageError
from rl_reason.rewards import combination
from rl_reason.rewards.combination import Rewarder
from rl_reason.settings import Reward

U = "rewards_of_users:"


@pytest.fixture(scope="module", autouse=True)
def importable():
    folder = str(Path(__file__).parent)
    sys.path.insert(0, folder)
    yield
    sys.path.remove(folder)


def test_weighted_sum_and_verdicts():
    completions = ["<think>x</think><answer>18</answer>", "<think>x</think><answer>7</answer>", r"\boxed{18}", "18"]
    with Rewarder(Reward(names=("format", "accuracy"), weights=(0.5, 2))) as rewarder:
        graded = rewarder.grade(completions, [{"answer": "18", "level": 3}] * 4)
        assert rewarder.grade([], []).total.shape == (0,)
    np.testing.assert_array_equal(graded.parts["format"], [1, 1, 0, 0])
    np.testing.assert_array_equal(graded.parts["accuracy"], [1, 0, 1, 0])
    np.testing.assert_array_equal(graded.total, np.array([2.5, 0.5, 2.0, 0.0], np.float32))
    assert graded.total.dtype == graded.parts["format"].dtype == np.float32
    # The verdicts are those of accuracy: format gives none, though it stands first.
    assert graded.verdicts == ["correct", "wrong", "correct", "unparseable"]
    assert graded.extracted == ["18", "7", "18", None]
    assert graded.counts == {"timeout": 0, "crash": 0, "error": 0, "nonfinite": 0, "unparseable": 1}
    assert graded.failures == []


def test_a_part_may_be_given_to_one_kind_of_problems_only():
    problems = [{"answer": "18"}, {"answer": "hello", "kind": "general"}, {"answer": "18", "kind": "reasoning"}]
    completions = ["<think>x</think><answer>18</answer>"] * 3
    kinds = (("accuracy", "reasoning"), (U + "moody", "general"))
    settings = Reward(names=("format", "accuracy", U + "moody"), weights=(0.5, 1, 2), kinds=kinds)
    with Rewarder(settings) as rewarder:
        graded = rewarder.grade(completions, problems)
        # "hello" is no answer that accuracy could compare with; it is not asked.
        assert rewarder.check_golds(problems) == {}
    assert graded.parts["accuracy"].tolist() == [1, 0, 1]
    assert graded.parts[U + "moody"].tolist() == [0, 1, 0]
    assert graded.total.tolist() == [1.5, 2.5, 1.5]
    assert graded.verdicts == ["correct"] * 3 and graded.extracted == ["18", None, "18"]
    with Rewarder(Reward(names=("accuracy",), kinds=(("accuracy", "reasoning"),))) as rewarder:
        graded = rewarder.grade(completions, problems)
        assert [rewarder.judges(problem) for problem in problems] == [True, False, True]
    assert graded.verdicts == ["correct", "unjudged", "correct"]


@pytest.mark.parametrize("kinds", [(("number", "general"),), ("accuracy",), (("accuracy", "a"), ("accuracy", "b"))])
def test_kinds_of_other_parts_are_refused(kinds):
    with pytest.raises(UsageError, match=r"config.reward.kinds=.*expected pairs \(one of config.reward.names"):
        Rewarder(Reward(names=("accuracy",), kinds=kinds))


def test_misbehaving_rewards_score_zero_and_are_counted():
    expected = {"raise": "error", "hang": "timeout", "exit": "crash", "segfault": "crash", "nan": "nonfinite",
                "inf": "nonfinite", "large": "nonfinite", "huge": "nonfinite", "text": "error", "none": "error",
                "list": "error", "dict": "error", "fine": None}
    settings = Reward(names=(U + "moody", U + "length"), weights=(1.0, 1.0), timeout=0.5)
    with Rewarder(settings) as rewarder:
        graded = rewarder.grade(list(expected), [{"answer": "18"}] * len(expected))
    assert np.isfinite(graded.total).all()
    for index, (completion, kind) in enumerate(expected.items()):
        reports = [failure for failure in graded.failures if failure["index"] == index]
        assert [report["kind"] for report in reports] == ([kind] if kind else [])
        assert graded.parts[U + "moody"][index] == (0.0 if kind else 1.0)
        assert graded.parts[U + "length"][index] == np.float32(len(completion) / 10)
        for report in reports:
            assert report["part"] == U + "moody" and report["completion"] == completion and report["message"]
    assert graded.counts == {"timeout": 1, "crash": 2, "error": 5, "nonfinite": 4, "unparseable": 0}
    verdicts = dict(zip(expected, graded.verdicts, strict=True))
    assert (verdicts["hang"], verdicts["segfault"], verdicts["fine"]) == ("timeout", "crash", "correct")
    assert "KeyError: 'missing'" in graded.failures[0]["message"]


def test_user_verdicts_and_booleans():
    with Rewarder(Reward(names=(U + "returns_bool", U + "by_verdict"), weights=(1.0, 0.0))) as rewarder:
        graded = rewarder.grade(["yes", "no"], [{"answer": ""}] * 2)
    assert graded.total.tolist() == [1.0, 0.0]
    assert graded.verdicts == ["correct"] * 2 and graded.extracted == ["sey", "on"]


def test_unreadable_gold_answer_is_counted():
    with Rewarder(Reward(names=("accuracy",))) as rewarder:
        graded = rewarder.grade([r"\boxed{{{}", "<answer>{{</answer>"], [{"answer": "{{"}] * 2)
    assert graded.total.tolist() == [0.0, 0.0]
    assert graded.counts["error"] >= 1 and set(graded.verdicts) == {"unparseable"}
    assert "own answer" in graded.failures[-1]["message"]


def test_golds_are_checked_by_the_rewards_that_can():
    problems = [{"answer": answer} for answer in ("fine", "18", "{{", "hang")]
    with Rewarder(Reward(names=("format", U + "picky", "accuracy"), weights=(1.0,) * 3, timeout=1.5)) as rewarder:
        seen = []
        found = rewarder.check_golds(problems, seen.append)
        assert list(found) == [1, 2, 3] and sum(seen) == 8
        assert found[1] == f"reward {U + 'picky'!r}: '18' is not to my taste"
        assert "killed after 1.5 s" in found[3]
    with Rewarder(Reward(names=("format", U + "length"), weights=(1.0, 1.0))) as rewarder:
        assert rewarder.check_golds(problems) == {}


def test_the_limit_of_length_comes_from_the_settings_or_the_problem():
    settings = Reward(names=("length",), max_characters=10)
    with Rewarder(settings) as rewarder:
        graded = rewarder.grade(["x" * 9] * 2, [{"answer": "1"}, {"answer": "1", "max_characters": 100}])
        assert list(rewarder.check_golds([{"answer": "1"}, {"max_characters": "many"}])) == [1]
    np.testing.assert_allclose(graded.total, [-0.5, 0])


@pytest.mark.parametrize("changes, parts", [
    ({"memory": -1.0}, ["config.reward.memory=-1.0"]),
    ({"memory": float("nan")}, ["config.reward.memory=nan"]),
    ({"max_characters": 0}, ["config.reward.max_characters=0"]),
    ({"max_characters": 9}, ["config.reward.max_characters=9", "length", "config.reward.names"]),
    ({"environment": (1,)}, ["config.reward.environment=(1,)"]),
    ({"names": ("accurracy",)}, ["config.reward.names", "'accuracy'"]),
    ({"names": ("no_such_module:f",)}, ["config.reward.names", "no_such_module"]),
    ({"names": (U + "nothing",)}, ["config.reward.names", "nothing"]),
    ({"names": ("accuracy", "format")}, ["config.reward.weights", "2 weights"]),
    ({"names": ("format", "format"), "weights": (1.0, 1.0)}, ["config.reward.names", "twice"]),
    ({"names": (), "weights": ()}, ["config.reward.names", "at least one"]),
    ({"weights": ("1",)}, ["config.reward.weights", "numbers"]),
    ({"weights": (float("nan"),)}, ["config.reward.weights", "finite"]),
    ({"timeout": -1.0}, ["config.reward.timeout"]),
    ({"workers": 0}, ["config.reward.workers"]),
])
def test_wrong_settings(changes, parts):
    with pytest.raises(UsageError) as caught:
        Rewarder(Reward(**changes))
    assert all(part in str(caught.value) for part in parts), caught.value


def test_the_parent_imports_neither_jax_nor_sympy():
    """Importing the rewards is quick, and says nothing to an accelerator."""
    code = "import sys, rl_reason.rewards.combination\nprint([m for m in ('jax', 'sympy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done


def test_grading_goes_on_beside_the_caller():
    """In the order of the calls; where the rewarder is closed, who waits is told."""
    with Rewarder(Reward(names=(U + "moody",), weights=(1.0,), timeout=100.0)) as rewarder:
        waits = [rewarder.begin([text], [{}]) for text in ("fine", "raise")]
        assert [wait().counts["error"] for wait in waits] == [0, 1]
        hanging, began = rewarder.begin(["hang"], [{}]), time.monotonic()
    assert time.monotonic() - began < 10
    with pytest.raises(RunError, match="closed"):
        hanging()


def test_what_takes_long_is_asked_once_of_equal_completions():
    completions = ["a", "b", "a", "a", "a", "b"]
    problems = [{"id": "1"}, {"id": "1"}, {"id": "1"}, {"id": "2"}, {"id": "1"}, {"id": "1"}]
    told = []
    with Rewarder(Reward(names=(U + "slow",), weights=(1.0,), workers=2)) as rewarder:
        graded = rewarder.grade(completions, problems, told.append)
    a, b, _, a_of_another, _, _ = graded.total
    assert len({a, b, a_of_another}) == 3
    assert graded.total.tolist() == [a, b, a, a_of_another, a, b]
    assert sum(told) == len(completions)


def test_what_takes_long_is_remembered_unless_it_may_end_otherwise(monkeypatch):
    problems, told = [{"id": "1"}, {"id": "1"}, {"id": "2"}], []
    with Rewarder(Reward(names=(U + "slow",), weights=(1.0,), workers=1)) as rewarder:
        before = rewarder.grade(["a", "late", "a"], problems)
        after = rewarder.grade(["a", "late", "a", "b"], [*problems, {"id": "1"}], told.append)
        assert [after.total[i] == before.total[i] for i in range(3)] == [True, False, True] and sum(told) == 4
        monkeypatch.setattr(combination, "KNOWN", 2)
        rewarder.grade(["c"], problems[:1])  # It remembers three, which is too many: they are forgotten.
        assert rewarder.grade(["a"], problems[:1]).total[0] != after.total[0]
