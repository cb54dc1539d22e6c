"""Documents: text to be continued, not questions to be answered. What continued pretraining reads.

A source of documents is

- a file that ends in `.jsonl`: one object a line, whose `text` is a document,
- one that ends in `.array_record`, or a set of shards of such: the same objects as records (`data.document_files`),
- one that ends in `.txt`: one document,
- a folder: all such files in it, but not in folders below it, in the order of their names,
- a short name (`MADE`), or `package.module:function`: a function `(split, dir, seed) -> Sequence[row]` to rows with
  `text`, made when they are asked for.

Files are looked through once, so that what cannot be read is told, or listed, before training starts; afterwards a text
is read when it is asked for, and memory holds places only. Blank lines of `.jsonl` files are always listed, never an
error.
"""

from __future__ import annotations

import json
import os
from abc import abstractmethod
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rl_reason.data.document_files import ending_of, few, find_files
from rl_reason.data.document_texts import exercises, remarks
from rl_reason.data.joined import Joined
from rl_reason.data.jsonl import is_unicode
from rl_reason.errors import UsageError
from rl_reason.registry import resolve
from rl_reason.runtime.progress import late_progress

MADE: Mapping[str, Callable[[str, str, int], Sequence[Mapping]]] = {"exercises": exercises, "remarks": remarks}
"""Documents that are made, by name."""


class Documents(Joined):
    """Texts of one source, each read when it is asked for.

    Args:
        name: of the source.
        parts: the texts of each file, or of what is made.
        unreadable: what was left out: `source`, `place`, `reason`.
    """

    def __init__(self, name: str, parts: Sequence[_Part], unreadable: Sequence[dict] = ()):
        super().__init__(parts)
        self.name, self.unreadable, self._texts = name, list(unreadable), parts

    @property
    def is_made(self) -> bool:
        """Whether documents are made when they are asked for; files have no splits."""
        return isinstance(self._texts[0], _Rows)

    def place(self, index: int) -> str:
        """Where a document stands: its file, and the line or the record, or the number of one that is made."""
        part = self.part_of(index)
        return self._texts[part].place(index - (self._ends[part] - len(self._texts[part])))


def load(
    name: str, split: str, dir: str, seed: int, unreadable: str, key: str, shown: bool = True
) -> Documents:
    """The documents of a source.

    Args:
        name: see above.
        split: of what is made: "train" or "test"; files have none.
        dir: given to functions.
        seed: of what is made.
        unreadable: "error"; "drop": leave out what is empty, no text or not UTF-8, and list it.
        key: the setting that held the name, for error lines.
        shown: whether progress is.

    Raises:
        UsageError: no such source; a document that cannot be read ("error"); none that can.
    """
    files = find_files(name, key, shown)
    if files is None:
        rows = resolve(name, MADE, key)(split, dir, seed)
        return Documents(name, [_Rows(name, rows)])
    parts, wrong = [], []
    with late_progress(f"look through {name}", sum(map(_size, files)), enabled=shown) as advance:
        for file in files:
            part, of_file = _look_through(file, unreadable == "drop", advance)
            parts.append(part)
            wrong += [{"source": name, **one} for one in of_file]
    made = Documents(name, parts, wrong)
    if not len(made):
        reasons = few([f"{one['place']}: {one['reason']}" for one in wrong])
        raise UsageError(f"{key}: {name!r}: holds no document that can be read, of {len(wrong)} ({reasons})")
    return made


def _size(file: Path) -> int:
    try:
        with file.open("rb") as opened:
            return os.fstat(opened.fileno()).st_size
    except OSError as error:
        expected = EXPECTED[ending_of(file)]
        raise UsageError(f"{file}: cannot read it: {error.strerror}; expected {expected}") from None


def _look_through(file: Path, drops: bool, advance: Callable[[int], None]) -> tuple[_Part, list[dict]]:
    """The readable documents of a file, and the places and reasons of the others."""
    wrong: list[dict] = []
    ending = ending_of(file)
    make, read = _KINDS[ending]
    places = array("q")
    for place, named, raw in read(file):
        advance(len(raw))
        if ending == ".jsonl" and not raw.strip():
            wrong.append({"place": f"{file}{named}", "reason": BLANK})
            continue
        try:
            text_of(raw, ending)
            places.extend(place)
        except ValueError as error:
            if not drops:
                raise UsageError(f"{file}{named}: {error}; expected {EXPECTED[ending]}") from None
            wrong.append({"place": f"{file}{named}", "reason": str(error)})
    if not places and not drops:
        raise UsageError(f"{file}: holds no documents; expected {EXPECTED[ending]}")
    if not places and not wrong:
        wrong.append({"place": str(file), "reason": "holds no documents"})
    return make(file, places), wrong


BLANK = "is a blank line"
EXPECTED = {
    ".jsonl": 'an object with `text`, non-empty UTF-8: {"text": "…"}',
    ".array_record": 'array_record of objects with `text`, non-empty UTF-8: {"text": "…"}',
    ".txt": "a document, non-empty UTF-8",
}


def text_of(raw: bytes, ending: str) -> str:
    """The text of what stands in a file; raises `ValueError` that says why there is none."""
    try:
        text: Any = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from None
    if ending != ".txt":
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
            raise ValueError(f"is not JSON ({reason})") from None
        if not isinstance(row, dict) or "text" not in row:
            raise ValueError(f"no `text` in {type(row).__name__ if not isinstance(row, dict) else 'the object'}")
        text = row["text"]
        if not isinstance(text, str):
            raise ValueError(f"`text` is {type(text).__name__}")
        if not is_unicode(text):
            raise ValueError("`text` holds half a character (a lone surrogate)")
    if not text.strip():
        raise ValueError("is empty")
    return text


Found = Iterator[tuple[tuple[int, ...], str, bytes]]
"""(place for the part, how an error line names it, what stands there)."""


def _lines(file: Path) -> Found:
    start = 0
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if number == 1 and line.startswith(b"\xef\xbb\xbf"):
                start, line = 3, line[3:]
            yield (start, len(line), number), f", line {number}", line
            start += len(line)


def _records(file: Path) -> Found:
    from array_record.python.array_record_module import ArrayRecordReader

    try:
        # What is no such file is told when it is closed; until then it has no records.
        ArrayRecordReader(str(file)).close()
        reader = ArrayRecordReader(str(file))
        for index in range(reader.num_records()):
            yield (index,), f", record {index}", reader.read([index])[0]
        reader.close()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{file}: cannot read it: {reason}; expected {EXPECTED['.array_record']}") from None


def _whole(file: Path) -> Found:
    yield (0,), "", file.read_bytes().removeprefix(b"\xef\xbb\xbf")


class _Part(Sequence[str]):
    """The texts of a file, or of what is made."""

    @abstractmethod
    def place(self, index: int) -> str:
        """Where a text stands, for people."""


class _Lines(_Part):
    """Lines of a file, by their places: start, length, number."""

    def __init__(self, file: Path, places: array):
        self._places = np.frombuffer(places, np.int64).reshape(-1, 3) if len(places) else np.zeros((0, 3), np.int64)
        self._name, self._file = file, os.open(file, os.O_RDONLY)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index):
        start, length, _ = map(int, self._places[index])
        return text_of(os.pread(self._file, length, start), ".jsonl")

    def place(self, index: int) -> str:
        return f"{self._name}, line {self._places[index][2]}"

    def __del__(self):
        os.close(self._file)


class _Records(_Part):
    """Records of a shard, by their numbers."""

    def __init__(self, file: Path, places: array):
        from grain.sources import ArrayRecordDataSource

        self._places, self._name, self._source = places, file, ArrayRecordDataSource([str(file)])

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index):
        return text_of(self._source[self._places[index]], ".array_record")

    def place(self, index: int) -> str:
        return f"{self._name}, record {self._places[index]}"


class _Whole(_Part):
    """A file that is one document, or none."""

    def __init__(self, file: Path, places: array):
        self._file, self._count = file, len(places)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index):
        return text_of(next(_whole(self._file))[2], ".txt")

    def place(self, index: int) -> str:
        return str(self._file)


class _Rows(_Part):
    """The texts of rows that are made; one without a text is told when it is asked for."""

    def __init__(self, name: str, rows: Sequence[Mapping]):
        self._name, self._rows = name, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index):
        row = self._rows[index]
        text = row.get("text") if isinstance(row, Mapping) else None
        if not isinstance(text, str) or not text.strip():
            raise UsageError(f"{self.place(index)}: no `text`; expected a non-empty string")
        return text

    def place(self, index: int) -> str:
        return f"{self._name}, document {index}"


_KINDS: Mapping[str, tuple[Callable[[Path, array], _Part], Callable[[Path], Found]]] = {
    ".jsonl": (_Lines, _lines),
    ".array_record": (_Records, _records),
    ".txt": (_Whole, _whole),
}
"""Of each ending the texts by their places, and what reads a file to find these."""
