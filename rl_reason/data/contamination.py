"""What of a training set an evaluation asks: texts that share many runs of words (as n-gram overlap is looked for since
GPT-3, arXiv 2005.14165, appendix C)."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rl_reason.data import documents, sources
from rl_reason.data.document_files import RECORDS, ending_of, few
from rl_reason.data.generated import is_generated
from rl_reason.data.geometry import ENDING, holds_statements
from rl_reason.data.gym import PREFIX
from rl_reason.data.jsonl import read_jsonl
from rl_reason.data.labelled import MADE
from rl_reason.data.made import MadeRows
from rl_reason.data.word_runs import letters, word_runs
from rl_reason.errors import RunError, UsageError
from rl_reason.registry import resolve
from rl_reason.runtime.progress import late_progress

log = logging.getLogger(__name__)
Text = tuple[str, str]
"""(id, text)."""
TEXTS = ("problem", "prompt", "text", "messages")
"""What a row is compared by, the first of these that it has."""


@dataclass(frozen=True)
class Overlap:
    """A text of an evaluation that another text repeats."""

    of: int
    """Its number."""
    share: float
    """Of its runs, those that the other text has."""
    share_back: float
    """Of the other text's runs, those that it has."""
    same: bool
    """Whether both have the same letters and digits, however these are cut into words."""


class Evaluated:
    """The texts that are asked in evaluations, to find others in.

    Args:
        texts: of the evaluations.
        n: words of a run.
        share: of the runs of a text that another one has, at least.
        within: whether a text is also found as a part of a longer one, whose own share does not count then.
    """

    def __init__(self, texts: Iterable[str], n: int, share: float, within: bool = False):
        self._n, self._least, self._within = n, share, within
        self._sizes: list[int] = []
        self._with_run: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._with_letters: dict[str, list[int]] = defaultdict(list)
        for number, text in enumerate(texts):
            runs = word_runs(text, n)
            self._sizes.append(len(runs))
            self._with_letters[letters(text)].append(number)
            for run in runs:
                self._with_run[run].append(number)

    def find(self, text: str) -> list[Overlap]:
        """The texts of evaluations that a text repeats: the same ones, then the most similar first."""
        runs = word_runs(text, self._n)
        same = set(self._with_letters.get(letters(text), ()))
        shared = Counter(number for run in runs for number in self._with_run.get(run, ()))
        found = [
            Overlap(number, shared[number] / self._sizes[number], shared[number] / len(runs), number in same)
            for number in {*shared, *same}
        ]
        return sorted(filter(self._counts, found), key=lambda one: (not one.same, -one.share, -one.share_back, one.of))

    def _counts(self, one: Overlap) -> bool:
        return one.same or (one.share >= self._least and (self._within or one.share_back >= self._least))


def check_sizes(n: int, share: float, keys: tuple[str, str]) -> None:
    """Raises `UsageError` that names one of the two keys."""
    if n < 1:
        raise UsageError(f"{keys[0]}={n}: expected at least 1 word")
    if not 0 < share <= 1:
        raise UsageError(f"{keys[1]}={share!r}: expected more than 0, at most 1")


class Keys(NamedTuple):
    """What the settings of a data set are called, for error lines."""

    name: str
    split: str
    dir: str


def open_texts(name: str, split: str, dir: str, seed: int, keys: Keys, shown: bool = True) -> Sequence[Text]:
    """The texts of one data set, of any kind that is trained on, each read or made when it is asked for:

    - problems (`data.sources`), by a short name, a folder of generated samples, or a file of geometry;
    - made pairs (`data.labelled.MADE`);
    - documents (`data.documents`): a short name, a folder, an `.array_record` file, a `.txt` file that is none of
      geometry, which is one that holds a statement;
    - `package.module:function` to rows of one of these;
    - a JSONL file of any of them: of problems, programs, pairs, labels, documents or conversations (`TEXTS`).

    Ids are those of the rows; a row without one has its line or its number, from 0. Documents have their file, and in
    it the line or the record.

    Args:
        name: of the data set.
        split: of one with a short name.
        dir: folder with local files, or "".
        seed: of what is made.
        keys: what the first three are called.
        shown: whether progress is, and what is no document.

    Raises:
        UsageError: no such data set, or one without rows; a row without a text, also later. Names the key.
    """
    with _naming(keys):
        count, make = _find(name, split, dir, seed, keys.name, shown)
        if not count:
            raise UsageError(f"{keys.name}={name!r}: holds no rows; expected some")

    def text(index: int) -> Text:
        with _naming(keys):
            return make(index)

    return MadeRows(count, text)


def read_texts(name: str, split: str, dir: str, seed: int, keys: Keys, shown: bool = True) -> list[Text]:
    """All of them; arguments and errors as of `open_texts`."""
    texts, read = open_texts(name, split, dir, seed, keys, shown), []
    with late_progress(f"read {name}", len(texts), enabled=shown) as advance:
        for text in texts:
            read.append(text)
            advance(1)
    return read


def _find(name: str, split: str, dir: str, seed: int, key: str, shown: bool) -> tuple[int, Callable[[int], Text]]:
    """How many texts there are, and what makes the one at a place."""
    path = Path(name).expanduser()
    if name.endswith(".jsonl") and not path.is_dir():
        lines = read_jsonl(path)
        return len(lines), lambda index: _of_row(lines[index][1], lines[index][0], f"{path}, line {lines[index][0]}")
    if name in documents.MADE or _holds_documents(name):
        found = documents.load(name, split, dir, seed, "error", key, shown)
        if found.unreadable:
            places = few([one["place"] for one in found.unreadable])
            log.warning("%s: passed over %d blank lines: %s", name, len(found.unreadable), places)
        return len(found), lambda index: (found.place(index), found[index])
    if sources.is_file(name) or name.startswith(PREFIX):
        rows: Sequence[Mapping] = sources.load(name, split, dir, seed)
    else:
        rows = resolve(name, {**documents.MADE, **MADE, **sources.SOURCES}, key)(split, dir, seed)
    return len(rows), lambda index: _of_row(rows[index], index, f"{key}={name!r}, row {index}")


def _holds_documents(name: str) -> bool:
    """Whether a name is that of files of documents: neither of problems, nor of samples."""
    path = Path(name).expanduser()
    if name in sources.SOURCES or is_generated(name):
        return False
    if os.path.isdir(path) or ending_of(path) == RECORDS:
        return True
    return name.endswith(ENDING) and path.is_file() and not holds_statements(path)


@contextlib.contextmanager
def _naming(keys: Keys) -> Iterator[None]:
    """Errors of data sources, which say `config.data`, name the keys instead."""
    try:
        yield
    except (UsageError, RunError) as error:
        line = _CONFIG_KEY.sub(lambda found: getattr(keys, found[1]), str(error))
        raise type(error)(line if line.startswith(tuple(keys)) else f"{keys.name}: {line}") from error


_CONFIG_KEY = re.compile(r"config\.(?:data|documents)\.(name|split|dir)\b")


def _of_row(row: Any, number: int, place: str) -> Text:
    if not isinstance(row, Mapping):
        raise UsageError(f"{place}: got {type(row).__name__}; expected a mapping with a text")
    return str(row.get("id", number)), _text(row, place)


def _text(row: Mapping, place: str) -> str:
    key = next((key for key in TEXTS if row.get(key)), None)
    value = row[key] if key else None
    if key == "messages" and isinstance(value, Sequence):
        parts = [one.get("content") for one in value if isinstance(one, dict)]
        said = [part for part in parts if isinstance(part, str)]
        value = "\n".join(said) if len(said) == len(parts) else None
    if not isinstance(value, str) or not value.strip():
        got = f"{value!r:.40} as `{key}`" if key else "none of " + ", ".join(f"`{key}`" for key in TEXTS)
        raise UsageError(f"{place}: {got}; expected a text")
    return value
