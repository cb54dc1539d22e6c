"""LiveCodeBench's rows, among them pickles that would do something."""

from __future__ import annotations

import base64
import json
import os
import pickle
import zlib

import pytest

from rl_reason.data import competition_code
from rl_reason.data.competition_code import livecodebench_problem, string_of_pickle

CASES = [{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}, {"input": "é", "output": "x" * 70_000}]


def packed(value) -> str:
    return base64.b64encode(zlib.compress(value if isinstance(value, bytes) else pickle.dumps(value))).decode()


def row(**changes):
    made = {
        "question_id": "abc_1", "question_content": "Add.", "contest_date": "2024-09-01T00:00:00", "difficulty": "easy",
        "starter_code": "", "public_test_cases": json.dumps(CASES[:1]), "metadata": "{}",
        "private_test_cases": packed(json.dumps(CASES)),
    }  # fmt: skip
    return {**made, **changes}


def test_programs_that_read_input():
    made = livecodebench_problem(row())
    assert made["cases"] == [{"input": c["input"], "output": c["output"]} for c in [CASES[0], *CASES]]
    assert (made["id"], made["date"], made["cases_left_out"]) == ("livecodebench/abc_1", "2024-09-01", 0)
    assert "answer" not in made and "tests" not in made and made["problem"] == "Add."
    assert livecodebench_problem(row(private_test_cases=json.dumps(CASES[1:])))["cases"] == made["cases"][::2]


def test_methods():
    cases = [{"input": '[1, 2]\n"a"', "output": "[true, null]"}]
    changes = {"public_test_cases": json.dumps(cases), "private_test_cases": "[]", "starter_code": "class Solution:\n"}
    made = livecodebench_problem(row(**changes, metadata='{"func_name": "go"}'))
    assert made["entry_point"] == "Solution" and "class Solution:" in made["prompt"] and "cases" not in made
    asked = []

    class Solution:
        def go(self, *arguments):
            asked.append(arguments)
            return (True, None)

    exec(made["tests"], {"Solution": Solution})  # written from the row that stands above
    assert asked == [([1, 2], "a")]
    Solution.go = lambda self, *arguments: [False, None]
    with pytest.raises(AssertionError):
        exec(made["tests"], {"Solution": Solution})


def test_cases_are_kept_up_to_a_limit(monkeypatch):
    monkeypatch.setattr(competition_code, "LARGEST_CASES", 20)
    made = livecodebench_problem(row())
    assert len(made["cases"]) == 3 and made["cases_left_out"] == 0
    made = livecodebench_problem(row(private_test_cases=packed(json.dumps(CASES * 5))))
    assert len(made["cases"]) == 3 and made["cases_left_out"] == 8
    monkeypatch.setattr(competition_code, "LARGEST_CASES", 1)
    assert len(livecodebench_problem(row())["cases"]) == 1


class Calls:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(1, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("text", ["", "[]", "é" * 300, "x" * 70_000])
def test_the_string_of_a_pickle(protocol, text):
    assert string_of_pickle(pickle.dumps(text, protocol)) == text


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_calls_something_is_refused_and_calls_nothing(tmp_path, protocol):
    """Also behind a harmless string."""
    bad = pickle.dumps(Calls(tmp_path / "made"), protocol)
    good = pickle.dumps("[]", 4)
    for data in (bad, good[:-1] + bad[2:], bad[:-1] + b"0" + good[2:]):
        with pytest.raises(ValueError, match="a pickle"):
            string_of_pickle(data)
        with pytest.raises(ValueError):
            livecodebench_problem(row(private_test_cases=packed(data)))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "data",
    [*map(pickle.dumps, (["a"], 1, None, b"a")), b"", b"garbage", b"\x80\x04\x8c\xff."],
)
def test_other_pickles_are_refused(data):
    with pytest.raises(ValueError):
        string_of_pickle(data)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"question_content": None}, "question_content"),
        ({"public_test_cases": "{}"}, "list of test cases"),
        ({"public_test_cases": '[{"input": 1, "output": ""}]'}, "'input' and 'output'"),
        ({"public_test_cases": "[]", "private_test_cases": "[]"}, "no test cases"),
        ({"private_test_cases": "no base64!"}, "neither JSON nor packed"),
        ({"private_test_cases": packed(json.dumps(CASES))[:40]}, "torn|packed"),
        ({"metadata": '{"func_name": "f(); import os #"}'}, "expected a name"),
    ],
)
def test_rows_that_cannot_be_read(changes, says):
    with pytest.raises(ValueError, match=says):
        livecodebench_problem(row(**changes))


def test_a_bomb_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(competition_code, "_LARGEST_TEXT", 10_000)
    bomb = base64.b64encode(zlib.compress(bytes(10**8))).decode()
    with pytest.raises(ValueError, match="more than 10000 bytes"):
        livecodebench_problem(row(private_test_cases=bomb))
