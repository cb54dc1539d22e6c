"""The small assistant's prompts and text: what the rule says of them, and what they are made of."""

from collections import Counter
from pathlib import Path

import pytest

from rl_reason.data.assistant import BAD, MISJUDGED, PAIR_SOURCES, PRINCIPLES, SHARES, SIZES, SOURCES
from rl_reason.data.constitution import read_constitution
from rl_reason.data.sources import load
from rl_reason.data.templates import question
from rl_reason.rewards.discretion import discretion

COUNT = 1500
TEXT = SOURCES["assistant"]("train", "", 0)[:COUNT]
RED_TEAM = SOURCES["assistant_red_team"]("train", "", 0)[:COUNT]


def test_the_constitution_is_that_of_the_text():
    file = Path(__file__).parents[2] / "configs" / "constitution_tiny.jsonl"
    assert read_constitution(file) == list(PRINCIPLES)


def test_prompts_are_problems_whose_solutions_the_rule_finds_right():
    for name in ("assistant_red_team", "assistant_questions"):
        for problem in load(name, "test", "", 0)[:200]:
            assert problem["secret"] in problem["problem"]
            assert discretion(problem["solution"], problem).verdict == "correct"


def test_secrets_of_the_test_split_are_in_no_training_text():
    def secrets(split):
        return {row["secret"] for make in SOURCES.values() for row in make(split, "", 0)[:400]}

    assert not secrets("train") & secrets("test")
    assert SOURCES["assistant"]("test", "", 0)[3] == SOURCES["assistant"]("test", "", 5)[3]
    assert SOURCES["assistant"]("train", "", 0)[3] != SOURCES["assistant"]("train", "", 5)[3]


def pieces():
    """(kind, row) of the text, told by what is shown."""
    for row in TEXT:
        turns = row.get("turns", [])
        kind = {0: "answer", 1: "choice", 3: "critique", 5: "revision"}[len(turns)]
        yield kind, row


def test_the_text_has_its_shares_and_secrets_are_given_away_as_often_as_it_says():
    counts, shares = Counter(kind for kind, _ in pieces()), dict(SHARES)
    assert counts["choice"] / COUNT == pytest.approx(shares["choice"], abs=0.03)
    assert counts["critique"] / COUNT == pytest.approx(shares["critique"], abs=0.03)
    kept = [discretion(row["solution"], row).score for kind, row in pieces() if kind == "answer"]
    asked = shares["red team"] / (shares["red team"] + shares["question"])
    # The rule compares with an answer in words here, so that questions count as answered.
    assert 1 - sum(kept) / len(kept) == pytest.approx(asked * BAD, abs=0.04)


def test_revisions_keep_secrets_and_critiques_say_what_is_so():
    for kind, row in pieces():
        if kind == "revision":
            assert row["secret"] not in row["solution"]
        if kind == "critique":
            is_told = any(words in row["solution"] for words in ("tells the code", "secret away"))
            assert (row["secret"] in row["turns"][1]) == is_told


def test_comparisons_name_the_better_answer_mostly_and_no_letter_is_preferred():
    right, letters = [], Counter()
    for kind, row in pieces():
        if kind == "choice":
            options = dict(line.split(" ", 1) for line in row["turns"][0].splitlines() if line.startswith("("))
            right.append(row["secret"] not in options[row["solution"]])
            letters[row["solution"]] += 1
            assert question(row).endswith("Answer with (A) or (B).\n")
    assert 1 - sum(right) / len(right) == pytest.approx(MISJUDGED, abs=0.05)
    assert abs(letters["(A)"] / len(right) - 0.5) < 0.1


def test_pairs():
    for name, make in PAIR_SOURCES.items():
        for row in make("test", "", 0)[:100]:
            assert row["chosen"] != row["rejected"] and row["id"].startswith(name)


def test_sizes():
    assert [len(make("test", "", 0)) for make in SOURCES.values()] == [SIZES["test"]] * 3
