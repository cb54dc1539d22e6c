"""Answers that the rewards cannot judge by: an error, or dropped and counted."""

import json
import logging

import pytest

from rl_reason.data import sources
from rl_reason.data.iterators import EncodedPrompt
from rl_reason.errors import UsageError
from rl_reason.recipes.evaluation import HeldOut
from rl_reason.recipes.golds import readable
from rl_reason.rewards.combination import Rewarder
from rl_reason.settings import Reward


@pytest.fixture(scope="module")
def rewarder():
    with Rewarder(Reward(names=("format", "number"), weights=(1.0, 1.0))) as rewarder:
        yield rewarder


def data_set(*answers: str) -> HeldOut:
    """Of every second problem there is no prompt: it was too long."""
    problems = [{"id": f"p{i}", "problem": "?", "answer": answer} for i, answer in enumerate(answers)]
    return HeldOut("tests", problems, [EncodedPrompt(i, [1]) for i in range(0, len(answers), 2)])


def test_readable_answers_change_nothing(rewarder):
    data = data_set("18", "many", "\\frac{1}{2}")
    assert readable(rewarder, data) is data
    assert readable(rewarder, data, "drop") is data


def test_unreadable_answers_are_an_error(rewarder):
    with pytest.raises(UsageError) as caught:
        readable(rewarder, data_set("18", "x", "many", "x", "few"), "error")
    for part in ("config.data.name='tests'", "'p2'", "'many'", "'number'", "1 more", "config.data.unreadable='drop'"):
        assert part in str(caught.value)
    with pytest.raises(UsageError) as caught:
        readable(rewarder, data_set("many"))
    assert "drop" not in str(caught.value) and "more" not in str(caught.value)


def test_tests_of_programs_are_read_too():
    problems = [{"id": f"p{i}", "entry_point": "f", "tests": tests} for i, tests in enumerate(("f(1)", "assert ("))]
    data = HeldOut("tests", problems, [EncodedPrompt(i, [1]) for i in range(2)])
    with Rewarder(Reward(names=("code_unisolated",), weights=(1.0,))) as rewarder:
        with pytest.raises(UsageError, match=r"'p1'.*'assert \('.*do not compile") as caught:
            readable(rewarder, data)
        assert "\n" not in str(caught.value)
        assert [prompt.index for prompt in readable(rewarder, data, "drop").prompts] == [0]


def test_unreadable_answers_are_dropped_and_counted(rewarder, caplog):
    with caplog.at_level(logging.WARNING):
        kept = readable(rewarder, data_set("18", "x", "many", "x", "3"), "drop")
    assert [prompt.index for prompt in kept.prompts] == [0, 4]
    assert "dropped 1 of 3 problems" in caplog.text and "'p2'" in caplog.text
    with pytest.raises(UsageError, match="no problem is left"):
        readable(rewarder, data_set("many"), "drop")


def test_the_line_of_a_file_is_named(rewarder, tmp_path):
    """Blank lines count; of joined files the one that holds it."""
    rows = [json.dumps({"id": f"p{i}", "problem": "?", "answer": answer}) for i, answer in enumerate(("18", "many"))]
    bad, good = tmp_path / "bad.jsonl", tmp_path / "good.jsonl"
    bad.write_text("\n\n".join(rows))
    good.write_text(rows[0].replace("p0", "q0"))
    for name, told in ((str(bad), f"'{bad}', line 3: problem 'p1'"), (f"{good}+{bad}", f": {bad}, line 3: problem")):
        problems = sources.load(name, "train", "", 0)[0:3]
        with pytest.raises(UsageError) as caught:
            readable(rewarder, HeldOut(name, problems, [EncodedPrompt(i, [1]) for i in range(len(problems))]))
        assert told in str(caught.value)
