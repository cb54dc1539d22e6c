"""Where problems come from: short names, files, functions, the authors' own layouts, and rows that are wrong."""

import json
from collections.abc import Mapping

import pytest

from rl_reason.data import sources
from rl_reason.data.upstream import last_boxed
from rl_reason.errors import UsageError

GOOD = {"id": "a", "problem": "1+1?", "answer": "2"}


def own_source(split: str, dir: str, seed: int) -> list[Mapping]:
    return [{"id": f"{split}/{seed}", "problem": "2+2?", "answer": 4}]


def lazy_source(split: str, dir: str, seed: int):
    """Has a row without an answer at the end."""
    return [GOOD] * 3 + [{"id": "bad", "problem": "2+2?"}]


@pytest.mark.parametrize(
    ("name", "split", "rows"),
    [("gsm8k", "train", 7473), ("gsm8k", "test", 1319), ("math", "train", 7498), ("math", "test", 500)],
)
@pytest.mark.parametrize("below", ["", "math"])
def test_the_shared_files_load_whole(shared_data, name, split, rows, below):
    problems = sources.load(name, split, str(shared_data / below), 0)
    assert len(problems) == rows
    loaded = list(problems)
    assert len({problem["id"] for problem in loaded}) == rows
    assert all(isinstance(p[key], str) and p[key].strip() for p in loaded for key in ("id", "problem", "answer"))


def test_math500_stands_in_for_the_test_split_with_a_warning(shared_data, write_jsonl, tmp_path, caplog):
    assert sources.load("math", "test", str(shared_data), 0)[0]["source"] == "math500"
    assert "MATH-500" in caplog.text
    write_jsonl("math500.jsonl", [GOOD])
    write_jsonl("math_test.jsonl", [{**GOOD, "id": "whole"}])
    assert sources.load("math", "test", str(tmp_path), 0)[0]["id"] == "whole"


def test_answers_of_the_shared_math_files_are_the_last_box(shared_data):
    for name in ("math_train", "math500"):
        for line in (shared_data / "math" / f"{name}.jsonl").open(encoding="utf-8"):
            row = json.loads(line)
            assert last_boxed(row["solution"]) == row["answer"], row["id"]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("so \\boxed{1} and \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("\\boxed{\\left\\{ 1 \\right.}", "\\left\\{ 1 \\right."),
        ("$\\boxed 5$ dollars", "5"),
        ("\\fbox{E}", "E"),
        ("\\boxed{}", ""),
        ("\\boxed{1", None),
        ("no box", None),
    ],
)
def test_the_last_box(text, answer):
    assert last_boxed(text) == answer


def test_names_are_joined_by_plus_in_order(shared_data, write_jsonl):
    path = write_jsonl("own.jsonl", [GOOD, GOOD])
    name = f"gsm8k+{path}+{__name__}:own_source+word_problems"
    problems = sources.load(name, "test", str(shared_data), 0)
    assert len(problems) == 1319 + 2 + 1 + len(sources.load("word_problems", "test", "", 0))
    assert [problems[i]["id"] for i in (1318, 1319, 1321)] == ["gsm8k/test/01318", "a", "test/0"]
    assert problems[1321]["answer"] == "4"
    assert problems[-1] == problems[len(problems) - 1]
    assert [p["id"] for p in problems[1318:1320]] == ["gsm8k/test/01318", "a"]
    with pytest.raises(IndexError):
        problems[len(problems)]


def test_the_first_of_each_source(write_jsonl):
    path = write_jsonl("own.jsonl", [{**GOOD, "id": "a"}, {**GOOD, "id": "b"}, {**GOOD, "id": "c"}])
    problems = sources.load(f"word_problems+{path}+{path}", "train", "", 0)
    first = [problem["id"] for problem in problems.first_of_each(2)]
    assert first == [problems[0]["id"], problems[1]["id"], "a", "b", "a", "b"]
    assert [problem["id"] for problem in problems.first_of_each(4)[4:]] == ["a", "b", "c"] * 2


def test_the_same_name_twice_counts_twice(write_jsonl):
    path = write_jsonl("own.jsonl", [GOOD])
    assert len(sources.load(f"{path}+{path}", "train", "", 0)) == 2


def test_a_file_whose_name_has_a_plus_is_one_file(write_jsonl):
    path = write_jsonl("a.jsonl+b.jsonl", [GOOD])
    assert len(sources.load(str(path), "train", "", 0)) == 1


def test_a_file_gets_line_numbers_as_ids_and_strings_as_answers(write_jsonl):
    path = write_jsonl("p.jsonl", [{"problem": "a", "answer": 3}, "", {"problem": "b\u2028c", "answer": 0.5, "id": 7}])
    problems = list(sources.load(str(path), "train", "", 0))
    assert [(p["id"], p["answer"]) for p in problems] == [("1", "3"), ("7", "0.5")]
    assert problems[1]["problem"] == "b\u2028c"


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"problem": "a"}, "no `answer`"),
        ({"problem": "a", "answer": ""}, "`answer`"),
        ({"problem": "a", "answer": " \n"}, "`answer`"),
        ({"problem": "a", "answer": None}, "`answer`"),
        ({"problem": "a", "answer": True}, "`answer`"),
        ({"problem": "a", "answer": ["1"]}, "`answer`"),
        ({"answer": "1"}, "no `problem`"),
        ({"problem": 5, "answer": "1"}, "`problem`"),
        ('{"problem": "a", ', "not JSON"),
        ("[1]", "JSON object"),
        ("\udcff", "utf-8"),
    ],
)
def test_a_wrong_row_is_named_with_its_file_and_line(tmp_path, bad, says):
    path = tmp_path / "p.jsonl"
    bad = bad if isinstance(bad, str) else json.dumps(bad)
    path.write_text("\n".join([json.dumps(GOOD), "", bad]), encoding="utf-8", errors="surrogateescape")
    with pytest.raises(UsageError) as error:
        sources.load(str(path), "train", "", 0)
    message = str(error.value)
    assert f"{path}, line 3" in message and says in message and "expected" in message and "\n" not in message


def test_a_wrong_row_of_a_function_is_named_with_its_id():
    name = f"{__name__}:lazy_source"
    problems = sources.load(name, "train", "", 0)
    with pytest.raises(UsageError, match="lazy_source.*'bad'.*no `answer`"):
        list(problems)


@pytest.mark.parametrize(
    ("name", "split", "dir", "says"),
    [
        ("gsm8", "train", "", "did you mean 'gsm8k'"),
        ("gsm8k", "validation", "{tmp}", "'train' and 'test'"),
        ("gsm8k", "train", "{tmp}/missing", "{tmp}/missing"),
        ("gsm8k", "train", "{tmp}", "gsm8k_train.jsonl"),
        ("math", "test", "{tmp}", "math_test.jsonl"),
        ("{tmp}/missing.jsonl", "train", "", "{tmp}/missing.jsonl"),
        ("{tmp}/empty.jsonl", "train", "", "no problems"),
        ("no.such.module:f", "train", "", "config.data.name"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, name, split, dir, says):
    (tmp_path / "empty.jsonl").touch()
    name, dir, says = (text.replace("{tmp}", str(tmp_path)) for text in (name, dir, says))
    with pytest.raises(UsageError) as error:
        sources.load(name, split, dir, 0)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_gsm8k_as_its_authors_publish_it_gives_the_shared_rows(shared_data, write_jsonl, tmp_path):
    shared = list(sources.load("gsm8k", "test", str(shared_data), 0))[:50]
    write_jsonl("test.jsonl", [{"question": row["problem"], "answer": row["solution"]} for row in shared])
    assert list(sources.load("gsm8k", "test", str(tmp_path), 0)) == shared


def test_a_row_that_is_not_of_gsm8k_is_named(write_jsonl, tmp_path):
    path = write_jsonl("train.jsonl", [{"question": "a", "answer": "b #### 1,000"}, {"question": "a", "answer": "b"}])
    with pytest.raises(UsageError, match=f"{path}, line 2.*####"):
        sources.load("gsm8k", "train", str(tmp_path), 0)


@pytest.mark.parametrize("below", ["", "MATH"])
def test_math_as_its_authors_publish_it_gives_the_shared_rows(shared_data, tmp_path, below):
    shared = [row for row in sources.load("math", "train", str(shared_data), 0) if row["subject"] != "Geometry"][::200]
    for row in shared:
        file = (tmp_path / below / row["id"].removeprefix("math/")).with_suffix(".json")
        file.parent.mkdir(parents=True, exist_ok=True)
        level = f"Level {row.get('level', '?')}"
        upstream = {"problem": row["problem"], "level": level, "type": row["subject"], "solution": row["solution"]}
        file.write_text(json.dumps(upstream), encoding="utf-8")
    (file.parent / "99999.json").write_text(json.dumps({**upstream, "solution": "so \\boxed{}"}), encoding="utf-8")
    assert list(sources.load("math", "train", str(tmp_path), 0)) == shared


def test_an_unreadable_file_of_math_is_named(tmp_path):
    file = tmp_path / "train" / "algebra" / "1.json"
    file.parent.mkdir(parents=True)
    file.write_text("{")
    with pytest.raises(UsageError, match=str(file)):
        sources.load("math", "train", str(tmp_path), 0)


def test_data_sets_that_join_late(write_jsonl):
    file = str(write_jsonl("general.jsonl", [GOOD, {**GOOD, "id": "b"}]))
    own = "tests.data.test_sources:own_source"
    problems = sources.load(f"{own}+{file}", "train", "", 0)
    assert sources.first_steps(problems, [0, 2, 1], ((file, 30),)) == [1, 30, 30]
    assert sources.first_steps(problems, [0, 1, 2], ((own, 5), (file, 30))) == [5, 30, 30]
    assert sources.first_steps(problems, [2], ()) == [1]
    with pytest.raises(UsageError, match="no problem of .*general.jsonl' is among the 1 that are trained on"):
        sources.first_steps(problems, [0], ((file, 30),))


@pytest.mark.parametrize(
    ("joins", "told"),
    [
        ((("gsm8k", 10), ("mth", 20)), "'mth': expected .* one of 'gsm8k', 'math', once"),
        ((("math", 10), ("math", 20)), "'math': expected .* once"),
        ((("math", 1),), "1: expected a step from 2 to config.steps=100"),
        ((("math", 101),), "101: expected a step from 2 to config.steps=100"),
        ((("math", 10.5),), "10.5: expected a step"),
        (("math", 10), "expected"),
        (((["math"], 10),), "expected"),
        ((("math", 10, 20),), "expected"),
    ],
    ids=str,
)
def test_joins_that_are_wrong_are_refused(joins, told):
    sources.check_joins((("math", 2), ("gsm8k", 100)), "gsm8k+math", 100)
    with pytest.raises(UsageError, match=told) as error:
        sources.check_joins(joins, "gsm8k+math", 100)
    assert str(error.value).startswith(f"config.data.joins={joins!r}")
