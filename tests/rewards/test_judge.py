"""A model behind a server as a part of the reward."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from rl_reason import settings
from rl_reason.errors import UsageError
from rl_reason.rewards.combination import Rewarder
from rl_reason.rewards.judge import read_score, write
from rl_reason.runtime import endpoint
from rl_reason.settings import Reward
from tests.servers import KEY, Server, completion

ASKS = "Problem {problem} has the answer {answer}: {completion}. Write {n} and \\boxed{x}."
TRIED_OUT = "1 + 1 = 2"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(endpoint, "FIRST_PAUSE", 0.01)


def judge(server, **changes):
    options = {"url": server.url, "model": "judge", "timeout": 5.0, "tries": 2, "instructions": ASKS} | changes
    return settings.Judge(**options)


def said_of(replies):
    """A server that says what stands behind the first text that it finds in the request."""

    def answer(path, request, number):
        told = request["messages"][0]["content"]
        found = next((reply for text, reply in replies.items() if text in told), "score: 1")
        return found if not isinstance(found, str) else completion(found)

    return answer


def test_the_texts_stand_in_their_places_once():
    told = write(ASKS, "see {answer} {problem}", {"problem": "{completion}?", "answer": 7})
    assert told == "Problem {completion}? has the answer 7: see {answer} {problem}. Write {n} and \\boxed{x}."
    assert write("{answer}|{completion}", "x", {"problem": "p"}) == "|x"


@pytest.mark.parametrize(
    "said, score",
    [
        ("score: 1", 1.0),
        ("Good.\n\n**Score: 0.25**\n", 0.25),
        ("score: 0\nNo, better:\nSCORE: .5", 0.5),
        ("## Score: `1.0`", 1.0),
        ("score:0.\r\n", 0.0),
    ],
)
def test_scores_that_are_read(said, score):
    assert read_score(said) == score


@pytest.mark.parametrize(
    "said",
    ["", "It is right.", "The score is 1", "score: 2", "score: -1", "score: 8/10", "score: nan", "score: 1e400",
     "score: high", "score:", "score: 1\nscore: none", "my score: 1", "score: 0.5 or 0.6", "score: 1\uff15"],
)  # fmt: skip
def test_anything_else_is_no_score(said):
    with pytest.raises(ValueError, match="expected a line 'score: X'"):
        read_score(said)


def test_a_judge_beside_a_rule_and_its_failures_are_counted(tmp_path):
    replies = {
        "nonsense": "I like it.",
        "much": "score: 7",
        "broken": (500, {}, b""),
        "slow": 30.0,
        "half": "score: 0.5",
    }
    completions = ["half 18", "nonsense 18", "much 18", "broken 18", "slow 18", "half 7"]
    problems = [{"problem": "p", "answer": "18"}] * 6
    reward = Reward(names=("judge", "number"), weights=(2.0, 1.0))
    with Server(said_of(replies)) as server, Rewarder(reward, judge(server, timeout=0.5)) as rewarder:
        assert rewarder.take_judge_counts()["calls"] == 1  # it was tried out
        told = []
        graded = rewarder.grade(completions, problems, told.append)
        counts = rewarder.take_judge_counts()
    np.testing.assert_array_equal(graded.parts["judge"], np.array([0.5, 0, 0, 0, 0, 0.5], np.float32))
    np.testing.assert_array_equal(graded.total, np.array([2, 1, 1, 1, 1, 1], np.float32))
    assert list(graded.parts) == ["judge", "number"] and sum(told) == 12
    assert graded.verdicts == ["correct"] * 5 + ["wrong"]  # those of the rule, which gives verdicts
    assert graded.counts == {"timeout": 1, "crash": 0, "error": 3, "nonfinite": 0, "unparseable": 0}
    kinds = {failure["index"]: (failure["part"], failure["kind"]) for failure in graded.failures}
    assert kinds == {1: ("judge", "error"), 2: ("judge", "error"), 3: ("judge", "error"), 4: ("judge", "timeout")}
    assert "expected a line 'score: X'" in graded.failures[0]["message"]
    assert counts["failures"] == 2 and counts["retries"] >= 1 and counts["prompt_tokens"] == 40


def test_a_judge_alone_says_what_is_right():
    with Server(said_of({"bad": "score: 0.9", "none": "?"})) as server:
        with Rewarder(Reward(names=("judge",)), judge(server)) as rewarder:
            graded = rewarder.grade(["good", "bad", "none"], [{"problem": "p", "answer": "a"}] * 3)
            assert rewarder.grade([], []).total.shape == (0,) and rewarder.check_golds([{"answer": "a"}]) == {}
    assert graded.verdicts == ["correct", "wrong", "crash"]
    assert graded.total.tolist() == [1.0, np.float32(0.9), 0.0]


def test_the_judge_is_asked_while_the_rules_compute(monkeypatch):
    """Each of two waits for the other: one after the other they would never end."""
    asked, graded = threading.Event(), []

    def answer(path, request, number):
        if TRIED_OUT not in request["messages"][0]["content"]:
            asked.set()
        return completion("score: 1")

    with (
        Server(answer) as server,
        Rewarder(Reward(names=("number", "judge"), weights=(1.0, 1.0)), judge(server)) as made,
    ):
        call = made._pool.map
        monkeypatch.setattr(made._pool, "map", lambda *given: [graded.append(asked.wait(10)), call(*given)][1])
        made.grade(["18"], [{"problem": "p", "answer": "18"}])
    assert graded == [True]


def test_workers_do_not_see_the_judges_key(monkeypatch, tmp_path):
    monkeypatch.setenv("JUDGES_KEY", KEY)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "looks_for_keys.py").write_text(
        "import os\ndef look(completion, problem):\n    return float(any('Secret' in x for x in os.environ.values()))\n"
    )
    reward = Reward(names=("looks_for_keys:look", "judge"), weights=(1.0, 1.0))
    with Server(said_of({})) as server, Rewarder(reward, judge(server, key_variable="JUDGES_KEY")) as rewarder:
        graded = rewarder.grade(["x"], [{"problem": "p", "answer": "a"}])
    assert graded.parts["looks_for_keys:look"].tolist() == [0.0] and graded.parts["judge"].tolist() == [1.0]
    assert server.headers[-1]["Authorization"] == f"Bearer {KEY}"


def test_the_same_completion_is_judged_once_with_a_cache(tmp_path):
    problem = {"problem": "p", "answer": "a"}
    with Server(said_of({})) as server:
        for _ in range(2):
            with Rewarder(Reward(names=("judge",)), judge(server, cache=str(tmp_path))) as rewarder:
                rewarder.grade(["x", "y"], [problem] * 2)
                counts = rewarder.take_judge_counts()
        assert (counts["calls"], counts["cache_hits"]) == (1, 2)  # the call tries the server out


@pytest.mark.parametrize(
    "answer, told",
    [
        (lambda *_: completion("Certainly! It is right."), "expected a line 'score: X'"),
        (lambda *_: (200, {}, b"<html>"), "expected a completion in JSON"),
        (lambda *_: (401, {}, b'{"error": {"message": "no key"}}'), "status 401: 'no key'"),
        (lambda *_: 30.0, "no answer within 0.3 s"),
        (None, "cannot be reached"),
    ],
    ids=["prose", "nonsense", "refused", "hangs", "nobody"],
)
def test_a_judge_that_does_not_judge_is_told_at_once(answer, told):
    began = time.monotonic()
    with Server(answer or said_of({})) as server:
        if answer is None:
            server.__exit__()
        with pytest.raises(UsageError) as caught:
            Rewarder(Reward(names=("judge",)), judge(server, timeout=0.3, tries=9))
    assert told in str(caught.value) and "config.judge." in str(caught.value) and "\n" not in str(caught.value)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"instructions": "Say 1."}, "{completion}"),
        ({"max_tokens": 0}, "max_tokens=0"),
        ({"url": ""}, "config.judge.url"),
    ],
)
def test_wrong_settings(changes, told):
    options = {"url": "http://127.0.0.1:9/v1", "model": "m"} | changes
    with pytest.raises(UsageError) as caught:
        Rewarder(Reward(names=("judge",)), settings.Judge(**options))
    assert told in str(caught.value)


def test_a_command_without_config_has_no_judge():
    with pytest.raises(UsageError, match="--grader='judge': needs config.judge"):
        Rewarder(Reward(names=("judge",)), key="--grader")
