"""Requests and replies: in which language, about whom and what, and what is wrong with the worse one of a pair."""

import re
from collections import Counter

import pytest

from rl_reason.data.requests import request_pairs, requests
from rl_reason.data.solutions import STYLES
from rl_reason.data.sources import load
from rl_reason.errors import UsageError
from rl_reason.rewards import format_reward
from rl_reason.rewards.language import mixes

NAME = re.compile(r"小.|\b(?:Anna|Ben|Clara|David|Emma|Felix|Grace|Hugo|Iris|Jonas|Kira|Liam)\b")


def reply(completion: str) -> str:
    match = re.fullmatch(r"<think>.*</think><answer>(.*)</answer>", completion)
    return match[1] if match else completion


def test_replies_are_to_the_request():
    rows = load("requests", "train", "", 3)[:600]
    assert Counter(row["language"] for row in rows).keys() == {"en", "zh"}
    for row in rows:
        assert row["kind"] == "general"
        # To whom the request says, in its language.
        assert NAME.search(row["problem"])[0] == NAME.search(row["answer"])[0]
        for text in (row["problem"], row["answer"], row["curt"], STYLES["worked"](row)):
            assert mixes(text, row) is False
        for style in ("worked", "english", "chinese", "mixed", "corrected", "bare"):
            assert format_reward(STYLES[style](row), row) == 1
        assert reply(STYLES["worked"](row)) == row["answer"]
        assert reply(STYLES["bare"](row)) == STYLES["plain"](row) == row["curt"] != row["answer"]


def test_splits_ask_for_other_things():
    """In either language: the topic, the name and the thing of a held-out request are in no other."""

    def asked(split):
        return {(row["topic"], *row["about"]) for row in requests(split, "", 0)[:500]}

    assert not asked("test") & asked("train")
    assert requests("test", "", 1)[:9] == requests("test", "", 2)[:9]
    assert requests("train", "", 1)[:9] != requests("train", "", 2)[:9]


def test_pairs_differ_in_one_fault_and_not_in_their_form():
    rows = request_pairs("train", "", 0)[:600]
    forms, faults = Counter(), Counter(row["fault"] for row in rows)
    good, problems = {}, {row["problem"]: row for row in requests("train", "", 0)[:600]}
    for row in rows:
        chosen, rejected = row["chosen"], row["rejected"]
        request = problems[row["problem"]]
        good[row["problem"]] = request["answer"]
        assert reply(chosen) == request["answer"] != reply(rejected)
        assert chosen.replace(reply(chosen), "") == rejected.replace(reply(rejected), "")
        forms[chosen.replace(reply(chosen), "")] += 1
        assert mixes(reply(rejected), row) is (row["fault"] == "language")
        assert (reply(rejected) == request["curt"]) is (row["fault"] == "curt")
        if row["fault"] == "off topic":
            assert NAME.search(reply(rejected))[0] == NAME.search(reply(chosen))[0]
    assert set(faults) == {"curt", "language", "off topic"} and min(faults.values()) > 150
    assert len(forms) == 4 and min(forms.values()) > 60
    assert not {row["problem"] for row in request_pairs("test", "", 0)} & set(good)


def test_an_unknown_split():
    for source in (requests, request_pairs):
        with pytest.raises(UsageError, match="config.data.split='dev'.*train, test"):
            source("dev", "", 0)


def test_replies_are_requests_with_whole_completions():
    asked, replies = requests("train", "", 3), load("replies", "train", "", 3)
    assert 0 < len(replies) < len(asked)
    curt = 0
    for index in range(200):
        assert replies[index]["id"] == asked[index]["id"]
        written = [STYLES["worked"](asked[index] | {"answer": asked[index][kind]}) for kind in ("answer", "curt")]
        assert replies[index]["solution"] in written
        curt += replies[index]["solution"] == written[1]
    assert 70 < curt < 130
