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


def test_shards_of_a_set_are_one_source(tmp_path):
    for number, text in enumerate(TEXTS):
        write_records(tmp_path / f"pages-train.array_record-{number:05d}-of-00004", rows_of([text], True))
    made = read(tmp_path)
    assert list(made) == list(read(tmp_path / "pages-train.array_record")) == TEXTS
    assert made.place(2) == f"{tmp_path}/pages-train.array_record-00002-of-00004, record 0"
    (tmp_path / "pages-train.array_record-00001-of-00004").unlink()
    with pytest.raises(UsageError, match=f"{KEY}: .*pages-train.array_record-00001-of-00004 is missing"):
        read(tmp_path)


def test_places_are_where_the_texts_stand(tmp_path):
    rows = rows_of(TEXTS, True)
    a = write_jsonl(tmp_path / "a.jsonl", [b"\xef\xbb\xbf", rows[0], b"", b"{}", *rows[1:]])
    b = write_records(tmp_path / "b.array_record", [b"{}", *rows[:1]])
    (tmp_path / "c.txt").write_text("text")
    made = read(tmp_path, "drop")
    places = [f"{a}, line {line}" for line in (2, 5, 6, 7)] + [f"{b}, record 1", str(tmp_path / "c.txt")]
    assert [made.place(index) for index in range(len(made))] == places
    assert json.loads(a.read_bytes().split(b"\n")[6 - 1])["text"] == made[2]
    assert read("exercises").place(7) == "exercises, document 7"


@pytest.mark.parametrize("unreadable", ["error", "drop"])
def test_blank_lines_are_listed_and_no_error(tmp_path, unreadable):
    rows = rows_of(TEXTS[:2], True)
    file = write_jsonl(tmp_path / "a.jsonl", [rows[0], b"", rows[1], b" \t\r", b""])
    made = read(file, unreadable)
    assert list(made) == TEXTS[:2]
    assert made.unreadable == [
        {"source": str(file), "place": f"{file}, line {line}", "reason": "is a blank line"} for line in (2, 4, 5)
    ]


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


def damaged(file: Path) -> bytes:
    """Records of which some in the middle are overwritten, where the file's end is as it was."""
    raw = bytearray(write_records(file, rows_of([f"page {i}" for i in range(2000)], True)).read_bytes())
    raw[len(raw) // 3 : len(raw) // 3 + 40] = bytes(40)
    return bytes(raw)


FILES = {
    "a.array_record": [lambda _: b"", lambda _: b'{"text": "a"}\n', lambda _: b"none" * 50_000, damaged],
    "a.jsonl": [lambda _: b"", lambda _: b"\n \n", lambda _: b"\xff\xfe\n", lambda _: b"Some text.\n"],
    "a.txt": [lambda _: b"", lambda _: b" \n", lambda _: "ü".encode("latin-1")],
}


@pytest.mark.parametrize("name, make", [(name, make) for name, makes in FILES.items() for make in makes])
def test_a_file_that_holds_no_documents_is_named_in_a_line(tmp_path, name, make):
    (tmp_path / "b.txt").write_text("can be read")
    file = tmp_path / name
    file.write_bytes(make(file))
    for source in (file, tmp_path):
        with pytest.raises(UsageError) as error:
            read(source)
        assert str(error.value).startswith(str(file)) and "; expected " in str(error.value)
        assert "\n" not in str(error.value)


def test_files_without_documents_are_listed_where_they_are_left_out(tmp_path):
    for name in ("a.jsonl", "b.txt"):
        (tmp_path / name).write_bytes(b"")
    empty = write_records(tmp_path / "c.array_record", [])
    (tmp_path / "d.txt").write_text("can be read")
    made = read(tmp_path, "drop")
    assert [Path(one["place"]).name for one in made.unreadable] == ["a.jsonl", "b.txt", "c.array_record"]
    with pytest.raises(UsageError, match=f"no document that can be read, of 1 .*{empty}: holds no documents"):
        read(empty, "drop")


def test_made_pages_hold_no_held_out_arithmetic():
    made = read("exercises")
    assert made[7] == made[7] != made[8] != read("exercises", seed=1)[8]
    # The same sums with other names: a page of the training split never has the lines of a held-out problem.
    held_out = {make_problem("test", index, 0)["solution"] for index in range(2000)}
    solutions = [part.split("\nFinal")[0].strip() for i in range(600) for part in made[i].split("Solution:")[1:]]
    assert len(solutions) > 2400 and not held_out & set(solutions)
    assert not any(character.isdigit() for i in range(50) for character in read("remarks")[i])
