"""Evolved word problems, read back from their sentences by other means than those that made them."""

import itertools

import pytest

from rl_reason.data.evolving import (
    FAULTS,
    PAIRS,
    easier_word_problems,
    harder_word_problems,
    instruction_pairs,
)
from rl_reason.data.word_problems import word_problems
from rl_reason.errors import UsageError
from tests.data.test_word_problems import read, tell

COUNT = 200
WAYS = {"harder": harder_word_problems, "easier": easier_word_problems}


@pytest.fixture(scope="module")
def evolved():
    """(way, split) → problems."""
    return {(way, split): make(split, "", 0)[:COUNT] for way, make in WAYS.items() for split in ("train", "test")}


def test_answers_are_exact(evolved):
    for problem in itertools.chain(*evolved.values()):
        start, events = read(problem["problem"])
        amounts = tell(start, events)
        assert str(amounts[-1]) == problem["answer"] and all(1 <= amount <= 99 for amount in amounts)
        assert problem["solution"].endswith(f"={problem['answer']}")
        assert len(events) == problem["level"]


def test_the_story_goes_on_or_ends_earlier(evolved):
    kept = 0
    for (way, split), problems in evolved.items():
        for row, problem in enumerate(problems):
            original = word_problems(split, "", 0)[row // 2]
            rounds = row % 2 + 1
            long, short = (problem, original) if way == "harder" else (original, problem)
            level = original["level"] + rounds if way == "harder" else max(original["level"] - rounds, 1)
            assert problem["level"] == level
            sentences = [one["problem"].split(". ")[:-1] for one in (long, short)]
            is_same = sentences[0][: len(sentences[1])] == sentences[1]
            assert is_same or way == "easier"
            kept += is_same
    # The others are on another topic: what an ending that comes earlier leaves is of the other split.
    assert kept > 0.7 * 4 * COUNT


def test_splits_share_no_arithmetic(evolved):
    """Neither with each other nor with the problems that they come from."""
    of_splits = {
        split: {str(read(p["problem"])) for p in word_problems(split, "", 0)[:400]} for split in ("train", "test")
    }
    for (_, split), problems in evolved.items():
        of_splits[split] |= {str(read(problem["problem"])) for problem in problems}
    assert len(of_splits["train"]) > 400 and not of_splits["train"] & of_splits["test"]


def test_rows_are_made_from_the_seed(evolved):
    for (way, split), problems in evolved.items():
        make = WAYS[way]
        assert make(split, "anywhere", 0)[:9] == problems[:9]
        assert (make(split, "", 1)[:9] == problems[:9]) == (split == "test")
        assert len({problem["id"] for problem in problems}) == COUNT and problems[0]["source"] == f"{way}_word_problems"
    for make in (harder_word_problems, instruction_pairs):
        with pytest.raises(UsageError, match="config.data.split='validation'"):
            make("validation", "", 0)


def can_be_read(text):
    """Whether each sentence is one with its numbers, and the last one asks."""
    try:
        return bool(read(text))
    except AssertionError:
        return False


def test_the_better_instruction():
    """It is whole and says all numbers; of two that do, the one with more events."""
    pairs = instruction_pairs("train", "", 0)[:300]
    assert len(instruction_pairs("test", "", 0)) == PAIRS["test"]
    seen, longer = dict.fromkeys(FAULTS, 0), 0
    for pair in pairs:
        events = len(read(pair["chosen"])[1])
        seen[pair["fault"]] += 1
        assert can_be_read(pair["rejected"]) == (pair["fault"] == "easy")
        assert pair["rejected"].endswith("?") == (pair["fault"] != "incomplete")
        if pair["fault"] == "easy":
            assert len(read(pair["rejected"])[1]) < events
        else:
            longer += len(pair["rejected"]) > len(pair["chosen"])
    assert min(seen.values()) > 75
    assert longer > 25  # what is wrong is not the length
