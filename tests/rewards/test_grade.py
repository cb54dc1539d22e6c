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
            {"completion": "eighteen", "answer": "18"},
            {"completion": "#### 18", "answer": "{{"}]
    write(source, rows)
    done = grade(grader, source, target, "--workers=1")
    assert done.returncode == 0, done.stderr
    graded = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row["reward"] for row in graded] == [1.0, 0.0, 0.0, 0.0]
    assert [row["verdict"] for row in graded] == ["correct", "wrong", "unparseable", "unparseable"]
    assert [row["extracted"] for row in graded] == ["18", "17", None, None]
    for before, after in zip(rows, graded, strict=True):
        assert before.items() <= after.items()
    assert done.stdout.count("\n") == 1 and "1 correct, 1 wrong, 2 unparseable" in done.stdout
    assert "row 4" in done.stderr
    assert [path.name for path in target.parent.iterdir()] == ["out.jsonl"]


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
