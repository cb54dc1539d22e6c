"""Rows of files and sources, checked to be problems; and where files of a data set lie."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from rl_reason.data.chat import check_messages
from rl_reason.data.jsonl import read_jsonl
from rl_reason.errors import UsageError

log = logging.getLogger(__name__)
TESTS = ("tests", "cases")
"""What a program is tested by: Python source, or a list of inputs and outputs. Such problems need no answer."""


def check_problem(row: Mapping, place: str, default_id: str, chat: bool = False) -> dict:
    """The row with `id`, `problem` and `answer` as non-empty strings.

    Args:
        row: a number as its answer becomes a string. One with `tests` or `cases` needs no answer, and its problem is
            its `prompt` if it has none of its own. A sample's `completion` (`data.generated`) is its solution.
        place: where the row comes from, for the error line.
        default_id: the id of a row that has none.
        chat: whether it may have `messages` instead of the two.
    """
    if not isinstance(row, Mapping):
        raise UsageError(f"{place}, row {default_id}: got {type(row).__name__}, expected a mapping")
    made = {"id": default_id, **row}
    if isinstance(made.get("completion"), str):
        made.setdefault("solution", made["completion"])
    made["id"] = str(made["id"])
    if chat and "messages" in made:
        check_messages(made, place)
        return made
    needed: list[tuple[str, type | tuple[type, ...]]] = [("problem", str), ("answer", (str, int, float))]
    if any(made.get(key) for key in TESTS):
        needed = [(key, kinds) for key, kinds in needed if key != "answer" or made.get("answer") is not None]
        made.setdefault("problem", made.get("prompt"))
    for key, kinds in needed:
        value = made.get(key)
        if isinstance(value, bool) or not isinstance(value, kinds) or not str(value).strip():
            got = "no" if key not in made else f"{value!r:.40} as"
            raise UsageError(f"{place}, id {made['id']!r}: {got} `{key}`; expected a non-empty string")
        made[key] = str(value)
    return made


def read_problems(path: Path, chat: bool = False) -> list[dict]:
    """Problems of a file with one JSON object a line; a row without `id` gets its line number.

    Raises:
        UsageError: names the file and the line.
    """
    return [problem for _, problem in numbered_problems(path, chat)]


def numbered_problems(path: Path, chat: bool = False) -> list[tuple[int, dict]]:
    """(line, problem) of a file, as `read_problems` has them."""
    return [(line, check_problem(row, f"{path}, line {line}", str(line), chat)) for line, row in read_jsonl(path)]


def folders(dir: str, *below: str) -> list[Path]:
    """The folder, then those below it that data may stand in."""
    folder = Path(dir).expanduser()
    if not folder.is_dir():
        raise UsageError(f"config.data.dir={dir!r}: no such folder")
    return [folder, *(folder / name for name in below)]


def first_file(candidates: Iterable[Path]) -> Path | None:
    file = next((path for path in candidates if path.is_file()), None)
    if file:
        log.info("reading %s", file)
    return file
