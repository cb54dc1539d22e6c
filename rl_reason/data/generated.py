"""Folders of generated samples (`recipes.generation`): shards, and beside them what they are samples of.

A record is a sample: `id`, `sample`, `problem`, `answer`, `prompt`, `completion`, `reward`, `correct`, `verdict`,
`extracted`, `finish`; of a model that runs here also `tokens` and `logprobs`; `failure` where there was one; and all
that the problem says of itself but its solution. Those of a problem stand together, problems in the order of the data.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rl_reason.data.jsonl import read_jsonl
from rl_reason.errors import RunError, UsageError

DESCRIPTION = "generation.json"
FORMATS = ("jsonl", "array_record")
OF_SAMPLE = (
    "completion", "prompt", "tokens", "logprobs", "finish", "reward", "correct", "verdict", "extracted", "failure",
    "turns", "revision_request",
)  # fmt: skip
"""What of a record belongs to the completion, and to what was said before it (`data.revising`), not to its problem."""


def shard(folder: Path, number: int, format: str) -> Path:
    return folder / f"samples-{number:05d}.{format}"


def is_generated(name: str) -> bool:
    """Whether this is a folder of generated samples."""
    return bool(name) and (Path(name).expanduser() / DESCRIPTION).is_file()


def read_shards(folder: str | Path) -> Iterator[dict[str, Any]]:
    """All records of a folder that is finished, in order, a shard at a time.

    Raises:
        UsageError: the folder is no such folder, or not finished.
        RunError: records are missing.
    """
    path = Path(folder).expanduser()
    description = read_description(path)
    counts, count = description["counts"]["samples"], 0
    if not description["finished"]:
        raise UsageError(
            f"{path}: holds {counts} of {description['problems'] * description['samples']} samples; expected all of "
            "them: the command that made it goes on where it stopped"
        )
    for number in range(description["shards"]):
        for record in read_shard(shard(path, number, description["format"])):
            count += 1
            yield record
    if count != counts:
        raise RunError(f"{path}: holds {count} samples, expected {counts}, as {DESCRIPTION} says")


def read_description(folder: Path) -> dict[str, Any]:
    """Raises `UsageError` where there is none."""
    try:
        made = json.loads((folder / DESCRIPTION).read_bytes())
    except OSError as error:
        raise UsageError(f"{folder}: expected a folder with {DESCRIPTION}: {error.strerror}") from None
    except ValueError:
        made = None
    if not isinstance(made, dict) or not {"finished", "counts", "format", "shards", "problems", "samples"} <= set(made):
        raise UsageError(f"{folder / DESCRIPTION}: expected what rl_reason.generate writes")
    return made


def read_shard(path: Path) -> list[dict[str, Any]]:
    """The records of one file, by its ending."""
    if path.suffix == ".jsonl":
        return [record for _, record in read_jsonl(path)]
    from array_record.python.array_record_module import ArrayRecordReader

    if not path.is_file():
        raise UsageError(f"{path}: cannot read it: No such file or directory; expected a shard")
    reader = ArrayRecordReader(str(path))
    try:
        return [json.loads(record) for record in reader.read_all()] if reader.num_records() else []
    finally:
        reader.close()


def problem_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of its problem, with an id that tells its samples apart."""
    problem = {key: value for key, value in record.items() if key not in OF_SAMPLE}
    return problem | {"id": f"{record['id']}/{problem.pop('sample', 0)}"}


def write_shard(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Writes one file, by its ending, as a whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    rows = [json.dumps(record).encode() for record in records]
    try:
        if path.suffix == ".jsonl":
            temporary.write_bytes(b"".join(row + b"\n" for row in rows))
        else:
            from array_record.python.array_record_module import ArrayRecordWriter

            writer = ArrayRecordWriter(str(temporary), "group_size:1")
            for row in rows:
                writer.write(row)
            writer.close()
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def solutions(name: str) -> list[dict[str, Any]]:
    """The right samples that end, as problems with solutions: what supervised training reads.

    Raises:
        UsageError: there are none; and as `read_shards`.
    """
    made, count = [], 0
    for record in read_shards(name):
        count += 1
        if record["correct"] and record["finish"] == "stop" and "failure" not in record:
            row = {"id": f"{record['id']}/{record['sample']}", "solution": record["completion"]}
            made.append(row | {key: record[key] for key in ("problem", "answer", "language") if key in record})
    if not made:
        raise UsageError(f"{name}: none of its {count} samples is right and ends; expected some to learn from")
    return made
