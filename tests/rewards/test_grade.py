"""The grade command, as a user calls it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def grade(grader, source, target, *more):
    flags = [f"--grader={grader}", f"--input={source}", f"--output={target}", *more]
    return subprocess.run([sys.executable, "-m", "rl_reason.grade", *flags], cwd=ROOT, capture_output=True, text=True,
                          timeout=60)


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("grader", ["math", "accuracy", "number"])
def test_rows_and_verdicts(tmp_path, grader):
    source, target = tmp_path / "in.jsonl", tmp_path / "new" / "out.jsonl"
    rows = [{"completion": "#### 18", "answer": "18", "id": "a", "nested": {"x": [1]}},
            {"completion": "#### 17", "answer": 18},
            {"completion": "eighteen", "answer": "18"}]
    write(source, rows)
    done = grade(grader, source, target, "--workers=1")
    assert done.returncode == 0, done.stderr
    graded = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row["reward"] for row in graded] == [1.0, 0.0, 0.0]
    assert [row["verdict"] for row in graded] == ["correct", "wrong", "unparseable"]
    assert [row["extracted"] for row in graded] == ["18", "17", None]
    for before, after in zip(rows, graded, strict=True):
        assert before.items() <= after.items()
    assert done.stdout.count("\n") == 1 and "1 correct, 1 wrong, 1 unparseable" in done.stdout
    assert [path.name for path in target.parent.iterdir()] == ["out.jsonl"]


@pytest.mark.parametrize("grader", ["math", "number", "choice", "boxed_exact"])
def test_an_answer_that_cannot_be_read_ends_the_command(tmp_path, grader):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write(source, [{"completion": "#### A", "answer": {"choice": "A"}.get(grader, "1")},
                   {"completion": "#### {{", "answer": " " if grader == "boxed_exact" else "{{", "id": "second"},
                   {"completion": "", "answer": "", "id": "third"}])
    source.write_text("\n" + source.read_text())
    done = grade(grader, source, target, "--workers=1")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and not target.exists(), done.stderr
    for part in ("in.jsonl", "line 3", "'second'", "own answer", "1 more"):
        assert part in done.stderr, done.stderr


def test_graders_of_the_text_need_no_answer(tmp_path):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write(source, [{"completion": "我们 add", "problem": "How many?", "max_characters": 5},
                   {"completion": "again and " * 90, "language": "en"}])
    expected = {"format": [0, 0], "language": [1 / 3, 1], "repetition": [0, -0.98757762], "length": [-1, -0.5]}
    for grader, rewards in expected.items():
        limit = ["--max_characters=1000"] if grader == "length" else []
        done = grade(grader, source, target, "--workers=1", *limit)
        assert done.returncode == 0, done.stderr
        made = [json.loads(line)["reward"] for line in target.read_text().splitlines()]
        assert made == pytest.approx(rewards), grader


def test_memory_is_limited(tmp_path, monkeypatch):
    """A reward that eats memory costs its own row only."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write(source, [{"completion": text, "answer": ""} for text in ("fine", "eat", "fine", "fine")])
    done = grade("rewards_of_users:hungry", source, target, "--workers=1", "--memory=0.5")
    assert done.returncode == 0 and "row 2: crash: out of memory" in done.stderr
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row["verdict"] for row in rows] == ["correct", "crash", "correct", "correct"]
    done = grade("rewards_of_users:hungry", source, target, "--workers=1", "--memory=-1")
    assert done.returncode == 2 and "--memory=-1" in done.stderr


def test_format_needs_no_answer_and_output_may_be_the_input(tmp_path):
    path = tmp_path / "rows.jsonl"
    write(path, [{"completion": "<think>a</think><answer>b</answer>"}, {"completion": "b"}])
    assert grade("format", path, path).returncode == 0
    assert [json.loads(line)["reward"] for line in path.read_text().splitlines()] == [1.0, 0.0]


@pytest.mark.parametrize("line, parts", [
    ('{"completion": "x"', ["line 2", "JSON"]),
    ("[1]", ["line 2", "object"]),
    ('{"completion": "x"}', ["line 2", "'answer'"]),
    ('{"answer": "x"}', ["line 2", "'completion'"]),
    ('{"completion": 3, "answer": "x"}', ["line 2", "completion", "int"]),
    ('{"completion": "x", "answer": ["x"]}', ["line 2", "answer", "list"]),
    ("[" * 100_000, ["line 2"]),
])
def test_malformed_rows(tmp_path, line, parts):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"completion": "x", "answer": "1"}\n' + line + "\n")
    done = grade("number", source, target)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and not target.exists()
    assert all(part in done.stderr for part in ["in.jsonl", *parts]), done.stderr


def test_wrong_usage(tmp_path):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write(source, [{"completion": "x", "answer": "1"}])
    for done, part in [(grade("maths", source, target), "'math'"),
                       (grade("math", tmp_path / "nowhere.jsonl", target), "nowhere.jsonl"),
                       (grade("math", source, target, "--worker=2"), "'workers'"),
                       (grade("math", source, target, "--timeout=0"), "--timeout")]:
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and part in done.stderr, done.stderr
    source.write_bytes(b'{"completion": "\xff", "answer": "1"}\n')
    done = grade("math", source, target)
    assert done.returncode == 2 and "line 1" in done.stderr
