"""Which files a source of documents is: one, a folder of them, or the shards of a set.

What a file holds, its ending says. Shards are named as TensorFlow Datasets names them,
`NAME.array_record-00000-of-00002`; of a set all have to be there, but where one of them is named by itself.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from rl_reason.errors import UsageError

log = logging.getLogger(__name__)
RECORDS = ".array_record"
ENDINGS = (".jsonl", RECORDS, ".txt")
NAMED = 5
"""Entries that a warning or an error names, at most."""
_SHARD = re.compile(rf"(.+{re.escape(RECORDS)})-(\d+)-of-(\d+)")


def ending_of(file: str | Path) -> str:
    """That of `ENDINGS` by which a file is read; "" where it is of another kind."""
    name = Path(file).name
    if _SHARD.fullmatch(name):
        return RECORDS
    return next((ending for ending in ENDINGS if name.endswith(ending)), "")


def find_files(name: str, key: str, shown: bool = True) -> list[Path] | None:
    """The files of a source, in order: of a folder by name, shards by number; None where it is no path.

    Args:
        name: a folder, a file, or a set of shards as `FOLDER/NAME.array_record`.
        key: the setting that held the name, for error lines.
        shown: whether entries of a folder that are passed over are told of: other kinds, and folders.

    Raises:
        UsageError: a folder without such files, or a set of which a shard is missing.
    """
    path = Path(name).expanduser()
    if os.path.isdir(path):
        files, others = _entries(path, key)
        expected = f"expected files {', '.join(ENDINGS)} in the folder itself"
        if not files:
            entries = f"its {len(others)} entries ({few(others)})" if others else "it, which is empty"
            raise UsageError(f"{key}: {name!r}: holds no documents in {entries}; {expected}")
        if others and shown:
            told = name, len(others), len(files) + len(others), few(others), expected
            log.warning("%s: passed over %d of %d entries, which are no documents: %s; %s", *told)
        return _in_order(files, key)
    if not ending_of(path):
        return None
    shards = [] if path.exists() or path.suffix != RECORDS else _shards_of(path)
    return _in_order(shards, key) if shards else [path]


def few(names: Sequence[str]) -> str:
    """The first names of a list that may be long."""
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")


def _entries(folder: Path, key: str) -> tuple[list[Path], list[str]]:
    """The files of a folder that are read, and the names of all else in it, those of folders with a slash."""
    files, others = [], []
    try:
        for entry in sorted(folder.iterdir()):
            is_folder = entry.is_dir()
            if ending_of(entry) and not is_folder:
                files.append(entry)
            else:
                others.append(f"{entry.name}/" if is_folder else entry.name)
    except OSError as error:
        raise UsageError(f"{key}: {folder}: cannot read it: {error.strerror}; expected a folder of documents") from None
    return files, others


def _shards_of(path: Path) -> list[Path]:
    """The files beside it that are its shards."""
    around = path.parent.iterdir() if path.parent.is_dir() else ()
    return [file for file in around if (shard := _SHARD.fullmatch(file.name)) and shard[1] == path.name]


def _in_order(files: Iterable[Path], key: str) -> list[Path]:
    """By name, the shards of a set by their numbers."""
    placed: list[tuple[str, int, int, Path]] = []
    sets: dict[tuple[Path, int], dict[int, Path]] = {}
    for file in files:
        shard = _SHARD.fullmatch(file.name)
        if not shard:
            placed.append((file.name, 0, 0, file))
            continue
        number, count = int(shard[2]), int(shard[3])
        placed.append((shard[1], count, number, file))
        sets.setdefault((file.with_name(shard[1]), count), {})[number] = file
    for (of, count), found in sets.items():
        more = next((found[number] for number in sorted(found) if number >= count), None)
        if more:
            raise UsageError(f"{key}: {more}: expected shards from 0 to {count - 1}, as its name says of how many")
        missing = next((number for number in range(count) if number not in found), None)
        if missing is not None:
            shard_name = f"{of}-{missing:05d}-of-{count:05d}"
            raise UsageError(f"{key}: {shard_name} is missing: {len(found)} of {count} shards are there; expected all")
    return [file for *_, file in sorted(placed)]
