"""Records of samples, appended to a file batch by batch, so that what a killed run has left there is kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rl_reason.errors import RunError


def read_kept(file: Path, ids: Sequence[str], at_once: int, before: int = 0) -> list[dict]:
    """The records that a run which was stopped has left, without a batch that is not whole: that is made again, with
    the same random numbers.

    Args:
        file: one record a line; need not be there.
        ids: of the problem of each record, when all are there.
        at_once: records of a batch.
        before: records that stand elsewhere, before those of the file.

    Raises:
        RunError: these are records of other problems.
    """
    records = _read(file)
    if before + len(records) < len(ids):
        records = records[: max((before + len(records)) // at_once * at_once - before, 0)]
    if [record.get("id") for record in records] != list(ids[before : before + len(records)]):
        raise RunError(f"{file}: holds completions of other questions; without it they are sampled anew")
    return records


def append(file: Path, records: Sequence[dict]) -> None:
    with open(file, "a", encoding="utf-8") as out:
        out.write(lines(records))


def lines(records: Sequence[dict]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def _read(file: Path) -> list[dict]:
    """The records of a file up to the first line that is torn; none if there is no file."""
    records: list[dict] = []
    if not file.exists():
        return records
    for line in file.read_bytes().split(b"\n"):
        try:
            records.append(json.loads(line))
        except ValueError:  # also the nothing behind the last line
            break
    return records
