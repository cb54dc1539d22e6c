"""A folder of proofs: what was asked for, a record for each problem as it comes, and each proof as text with a figure.

The same command goes on with what it finds, and another one is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rl_reason.errors import UsageError
from rl_reason.geometry.drawing import draw
from rl_reason.geometry.engine import Result
from rl_reason.geometry.statements import Clause, Statement
from rl_reason.recipes import record_files
from rl_reason.recipes.evaluation_folder import difference
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.workdir import write_atomic


class ProofFolder:
    """One host writes.

    Args:
        path: the folder; is made.
        asked: JSON values that results depend on.

    Raises:
        UsageError: the folder holds something else.
    """

    def __init__(self, path: Path, asked: Mapping[str, Any]):
        self.path, settings = path, path / "settings.json"
        if path.exists() and not path.is_dir():
            raise UsageError(f"--output={path}: expected a folder, found a file")
        if settings.exists():
            if changed := difference(json.loads(settings.read_bytes()), json.loads(json.dumps(asked))):
                line = f"--output={path}: holds results that differ by {changed}"
                raise UsageError(f"{line}; expected the same command or another folder")
        elif path.is_dir() and any(path.glob("*.jsonl")):
            raise UsageError(f"--output={path}: holds results of something else; expected another folder")
        path.mkdir(parents=True, exist_ok=True)
        write_atomic(settings, json.dumps(asked, indent=1) + "\n")

    def records(self, name: str) -> list[dict]:
        """What a file of records holds; its last line, which may be torn by what stopped the command, is cut."""
        file = self.path / name
        if not file.exists():
            return []
        whole = file.read_bytes()
        write_atomic(file, whole[: whole.rfind(b"\n") + 1])
        return list(read_jsonl(file))

    def add(self, name: str, record: Mapping[str, Any]) -> None:
        record_files.append(self.path / name, [dict(record)])

    def save(self, place: str, statement: Statement, proved: Result, added: Sequence[Clause] = ()) -> None:
        """Writes a proof, and draws its figure beside it.

        Args:
            place: below `proofs/`, without an ending: FOLDER/ID, or ID.
            statement: without what is added.
            proved: of the statement with what is added.
            added: auxiliary clauses.
        """
        file = self.path / "proofs" / f"{place}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        told = f"{file.stem}\n{statement}\n" + "".join(f"added: {clause}\n" for clause in added)
        write_atomic(file, f"{told}\n{proved.proof}\n")
        points = {point for clause in added for point in clause.points}
        draw(statement.plus(added), proved.figure, file.with_name(f"{file.stem}.png"), points)

    def finish(self, results: Mapping[str, Any]) -> None:
        write_atomic(self.path / "results.json", json.dumps(results, indent=1, allow_nan=False) + "\n")


def file_name(id: str) -> str:
    """Of a problem, whose name may be anything."""
    return id.replace("/", "_").replace("\0", "_")
