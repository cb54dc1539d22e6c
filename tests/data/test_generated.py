"""Shards of generated samples, written and read, and read as training data."""

from __future__ import annotations

import json

import pytest

from rl_reason.data import sources
from rl_reason.data.generated import DESCRIPTION, read_shard, read_shards, shard, write_shard
from rl_reason.errors import RunError, UsageError


def record(number, **changes):
    made = {"id": f"q{number // 2}", "sample": number % 2, "problem": f"What is\u2028{number}?", "answer": str(number)}
    made |= {
        "completion": f"It is {number}. 是",
        "reward": 1.0,
        "correct": True,
        "verdict": "correct",
        "finish": "stop",
    }
    return made | changes


RECORDS = [
    record(0, language="zh", tokens=[1, 2]),
    record(1, correct=False, verdict="wrong"),
    record(2, finish="length"),
    record(3, failure={"part": "judge", "kind": "timeout", "message": ""}),
    record(4),
    record(5),
]


def folder_of(path, format="jsonl", finished=True, samples=6):
    path.mkdir()
    for number in range(2):
        write_shard(shard(path, number, format), RECORDS[number * 4 :][:4])
    told = {"finished": finished, "counts": {"samples": samples}, "format": format, "shards": 2}
    (path / DESCRIPTION).write_text(json.dumps(told | {"problems": 3, "samples": 2}))
    return path


@pytest.mark.parametrize("format", ["jsonl", "array_record"])
def test_what_is_read_is_what_was_written(format, tmp_path):
    folder = folder_of(tmp_path / "made", format)
    assert sorted(file.name for file in folder.iterdir()) == [
        DESCRIPTION, f"samples-00000.{format}", f"samples-00001.{format}"]  # fmt: skip
    assert list(read_shards(folder)) == list(read_shards(str(folder))) == RECORDS
    write_shard(shard(folder, 2, format), [])
    assert read_shard(shard(folder, 2, format)) == []


def test_array_record_is_read_by_those_who_read_it(tmp_path):
    """grain's own reader, as a data set of bytes."""
    import grain

    folder = folder_of(tmp_path / "made", "array_record")
    source = grain.sources.ArrayRecordDataSource([str(folder / f"samples-0000{i}.array_record") for i in range(2)])
    assert [json.loads(source[i]) for i in range(len(source))] == RECORDS


def test_what_is_not_whole_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds 4 of 6 samples; expected all"):
        next(read_shards(folder_of(tmp_path / "a", finished=False, samples=4)))
    with pytest.raises(RunError, match="holds 6 samples, expected 7"):
        list(read_shards(folder_of(tmp_path / "b", samples=7)))
    for format in ("jsonl", "array_record"):
        folder = folder_of(tmp_path / format, format)
        shard(folder, 1, format).unlink()
        with pytest.raises(UsageError, match="samples-00001"):
            list(read_shards(folder))
    with pytest.raises(UsageError, match="expected a folder with generation.json"):
        next(read_shards(tmp_path))
    (tmp_path / DESCRIPTION).write_text("[]")
    with pytest.raises(UsageError, match="what rl_reason.generate writes"):
        next(read_shards(tmp_path))


def test_the_right_samples_are_training_data(tmp_path):
    folder = folder_of(tmp_path / "made")
    problems = sources.load(str(folder), "train", "", 0)
    assert [problem["id"] for problem in problems] == ["q0/0", "q2/0", "q2/1"]
    first = {"id": "q0/0", "problem": "What is\u20280?", "answer": "0", "solution": "It is 0. 是", "language": "zh"}
    assert problems[0] == first and not problems.is_made
    (tmp_path / "more.jsonl").write_text('{"problem": "p", "answer": 1}\n')
    assert len(sources.load(f"{folder}+{tmp_path / 'more.jsonl'}", "train", "", 0)) == 4


def test_no_right_sample_is_an_error(tmp_path):
    folder = folder_of(tmp_path / "made")
    for number in range(2):
        rows = [row | {"correct": False} for row in read_shard(shard(folder, number, "jsonl"))]
        write_shard(shard(folder, number, "jsonl"), rows)
    with pytest.raises(UsageError, match="none of its 6 samples is right and ends"):
        sources.load(str(folder), "train", "", 0)


def test_a_row_with_a_completion_has_a_solution(tmp_path):
    file = tmp_path / "selected.jsonl"
    rows = [record(0), record(1, solution="shorter")]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [row["solution"] for row in sources.load(str(file), "train", "", 0)] == ["It is 0. 是", "shorter"]
