"""Which files a source of documents is: in order, whole, and with a word about what is passed over."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from rl_reason.data.document_files import ending_of, find_files
from rl_reason.errors import UsageError

KEY = "config.documents.sources"


def touched(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def found(name, **other) -> list[str]:
    return [file.name for file in find_files(str(name), KEY, **other) or ()]


def shards(name: str, *numbers: int, count: int) -> list[str]:
    return [f"{name}.array_record-{number:05d}-of-{count:05d}" for number in numbers]


def test_endings_of_files_and_shards():
    for name, ending in (
        ("a.jsonl", ".jsonl"),
        ("a.b.txt", ".txt"),
        ("x.array_record", ".array_record"),
        ("d-train.array_record-00003-of-00010", ".array_record"),
        ("d.array_record-3", ""),
        ("d.array_record-00003-of-00010.md5", ""),
        ("d.jsonl-00003-of-00010", ""),
        ("a.jsonl.gz", ""),
    ):
        assert ending_of(name) == ending, name


def test_shards_go_by_their_numbers(tmp_path):
    of_ten = [f"a.array_record-{number}-of-11" for number in range(11)]  # by name, 10 would stand before 2
    folder = touched(tmp_path / "made", *of_ten, *shards("b", 1, 0, count=2), "0.txt", "c.jsonl")
    assert found(folder) == ["0.txt", *of_ten, *shards("b", 0, 1, count=2), "c.jsonl"]
    assert found(folder / "b.array_record") == shards("b", 0, 1, count=2)
    assert found(folder / shards("b", 1, count=2)[0]) == shards("b", 1, count=2)  # by itself: that one alone
    (folder / "b.array_record").touch()
    assert found(folder / "b.array_record") == ["b.array_record"]


def test_a_shard_that_is_not_there_is_named(tmp_path):
    folder = touched(tmp_path / "made", *shards("a", 0, 2, count=3), "b.jsonl")
    missing = f"{KEY}: {folder}/{shards('a', 1, count=3)[0]} is missing: 2 of 3 shards are there; expected all"
    for name in (folder, folder / "a.array_record"):
        with pytest.raises(UsageError) as error:
            found(name)
        assert str(error.value) == missing
    too_many = touched(tmp_path / "other", *shards("a", 0, 1, 2, count=2))
    with pytest.raises(UsageError, match="a.array_record-00002-of-00002: expected shards from 0 to 1"):
        found(too_many)


def test_what_is_passed_over_is_told_once_with_a_count(tmp_path, caplog):
    folder = touched(tmp_path / "made", "a.jsonl", *(f"n{number}.md" for number in range(5)), "z.json")
    touched(folder / "below.jsonl", "b.jsonl")
    with caplog.at_level(logging.WARNING):
        assert found(folder, shown=False) == ["a.jsonl"]
        assert not caplog.records
        assert found(folder) == ["a.jsonl"]
    [told] = caplog.messages
    assert told.startswith(f"{folder}: passed over 7 of 8 entries, which are no documents: below.jsonl/, n0.md, n1.md,")
    assert "n3.md, …" in told and "n4" not in told and "z.json" not in told


def test_a_folder_without_documents_says_what_it_holds(tmp_path):
    with pytest.raises(UsageError, match=f"{KEY}: .*holds no documents in it, which is empty; expected files .jsonl"):
        found(tmp_path)
    touched(tmp_path / "below", "a.jsonl")
    with pytest.raises(UsageError, match=r"holds no documents in its 1 entries \(below/\); expected files .jsonl"):
        found(tmp_path)
    assert find_files("exercises", KEY) is None
