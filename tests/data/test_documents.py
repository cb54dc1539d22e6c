"""Documents: read as they stand, and what cannot be read is told or listed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from rl_reason.data import documents
from rl_reason.data.word_problems import make_problem
from rl_reason.errors import UsageError

TEXTS = ["One line.", "Two\nlines, \u2028 and ümläüts.", "  space stays \n", "数学"]
KEY = "config.documents.sources"


def read(name, unreadable: str = "error", seed: int = 0) -> documents.Documents:
    return documents.load(str(name), "train", "", seed, unreadable, KEY)


def write_jsonl(path: Path, rows: list[bytes]) -> Path:
    path.write_bytes(b"\n".join(rows) + b"\n")
    return path


def write_records(path: Path, rows: list[bytes]) -> Path:
    writer = ArrayRecordWriter(str(path), "group_size:1")
    for row in rows:
        writer.write(row)
    writer.close()
    return path


def rows_of(texts, ascii: bool) -> list[bytes]:
    return [json.dumps({"text": text, "other": 1}, ensure_ascii=ascii).encode() for text in texts]


@pytest.mark.parametrize("ascii", [True, False])
def test_all_kinds_of_files_hold_the_same_texts(tmp_path, ascii):
    rows = rows_of(TEXTS, ascii)
    of_lines = write_jsonl(tmp_path / "a.jsonl", [b"\xef\xbb\xbf" + rows[0], b"", *rows[1:]])
    assert list(read(of_lines)) == TEXTS
    assert list(read(write_records(tmp_path / "b.array_record", rows))) == TEXTS
    (tmp_path / "c.txt").write_text(TEXTS[1], encoding="utf-8")
    assert list(read(tmp_path / "c.txt")) == [TEXTS[1]]
    (tmp_path / "notes.md").write_text("is none of the files")
    everything = read(tmp_path)
    assert list(everything) == [*TEXTS, *TEXTS, TEXTS[1]]
    assert everything[-1] == TEXTS[1] and everything[3:5] == [TEXTS[3], TEXTS[0]]
    with pytest.raises(IndexError):
        everything[9]


BAD = {
    b'{"text": ""}': "is empty",
    b'{"text": " \\n"}': "is empty",
    b'{"text": 3}': "`text` is int",
    b'{"problem": "x"}': "no `text` in the object",
    b'["text"]': "no `text` in list",
    b'{"text": "x"': "is not JSON",
    b'{"text": "\\ud800"}': "half a character",
    b'{"text": "\xff"}': "byte 10 is not UTF-8",
}


@pytest.mark.parametrize("row, reason", BAD.items())
def test_what_cannot_be_read_is_told_with_its_place(tmp_path, row, reason):
    file = write_jsonl(tmp_path / "a.jsonl", [*rows_of(TEXTS[:2], True), b"", row])
    with pytest.raises(UsageError) as error:
        read(file)
    assert f"{file}, line 4: " in str(error.value) and reason in str(error.value) and "expected" in str(error.value)
    assert "\n" not in str(error.value)
    file = write_records(tmp_path / "b.array_record", [*rows_of(TEXTS[:2], True), row])
    with pytest.raises(UsageError, match=", record 2: "):
        read(file)


def test_what_is_dropped_is_listed(tmp_path):
    file = write_jsonl(tmp_path / "a.jsonl", [*BAD, *rows_of(TEXTS, True)])
    (tmp_path / "empty.txt").write_text(" ")
    (tmp_path / "latin.txt").write_bytes("ümlaut".encode("latin-1"))
    made = read(tmp_path, "drop")
    assert list(made) == TEXTS
    assert [one["place"] for one in made.unreadable] == [
        *(f"{file}, line {number}" for number in range(1, len(BAD) + 1)),
        str(tmp_path / "empty.txt"),
        str(tmp_path / "latin.txt"),
    ]
    for one, reason in zip(made.unreadable, [*BAD.values(), "is empty", "byte 0 is not UTF-8"], strict=True):
        assert reason in one["reason"] and one["source"] == str(tmp_path)
    file.write_bytes(b'{"text": ""}\n')
    with pytest.raises(UsageError, match="no document that can be read, of 3"):
        read(tmp_path, "drop")


def test_sources_that_are_none(tmp_path):
    for name, told in (
        (tmp_path / "missing.jsonl", "No such file"),
        (tmp_path, "holds no documents"),
        ("exercize", "did you mean 'exercises'"),
    ):
        with pytest.raises(UsageError, match=told) as error:
            read(name)
        assert str(name) in str(error.value)
    (tmp_path / "a.array_record").write_text("none")
    with pytest.raises(UsageError, match="a.array_record: cannot read it"):
        read(tmp_path / "a.array_record")


def test_made_pages_hold_no_held_out_arithmetic():
    made = read("exercises")
    assert made[7] == made[7] != made[8] != read("exercises", seed=1)[8]
    # The same sums with other names: a page of the training split never has the lines of a held-out problem.
    held_out = {make_problem("test", index, 0)["solution"] for index in range(2000)}
    solutions = [part.split("\nFinal")[0].strip() for i in range(600) for part in made[i].split("Solution:")[1:]]
    assert len(solutions) > 2400 and not held_out & set(solutions)
    assert not any(character.isdigit() for i in range(50) for character in read("remarks")[i])
