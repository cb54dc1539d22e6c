"""The folder of an evaluation: what it was asked for, its samples as they come, its results at the end.

While samples are still missing `unfinished.json` says what they are samples of; when all are there its content stands
in `results.json`, before the figures. The same command goes on with what it finds, and another one is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rl_reason.errors import RunError, UsageError
from rl_reason.recipes import record_files
from rl_reason.runtime.workdir import write_atomic

_OTHER = {
    "data_sha256": "other problems in --data",
    "model_sha256": "other weights in --model",
    "reward_model_sha256": "other weights in --reward_model",
}
"""What stands in `asked` beside flags, where it shows in no flag that it has changed."""


def difference(there: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """The first thing that is asked for otherwise than what is there was; empty where there is none."""
    for name, value in asked.items():
        if there.get(name) != value or name not in there:
            before = json.dumps(there[name]) if name in there else "unknown"
            return _OTHER.get(name, f"--{name}={json.dumps(value)}, which was {before}")
    return ""


class EvaluationFolder:
    """One host writes; the others know how far it is.

    Args:
        path: the folder; need not be there.
        asked: JSON values that say what is sampled: flags, and what they led to.
        ids: of the problem of each record, when all are there.
        at_once: records of a batch.

    Raises:
        UsageError: the folder holds something else.
    """

    def __init__(self, path: Path, asked: Mapping[str, Any], ids: Sequence[str], at_once: int):
        self._path, self._asked = path, json.loads(json.dumps(asked))
        self.results: dict[str, Any] | None = None
        """Of an evaluation that is finished."""
        self.records: list[dict] = []
        self._is_made = False
        found = next((file for file in (self._results, self._unfinished) if file.is_file()), None)
        if found is None and self._samples.exists():
            raise UsageError(f"--output={path}: holds samples.jsonl of something else; expected another folder")
        if found is not None:
            self._compare(found)
        if found == self._results:
            self.results = json.loads(found.read_bytes())
            self._unfinished.unlink(missing_ok=True)
        elif found is not None:
            self.records = record_files.read_kept(self._samples, ids, at_once)

    @property
    def _results(self) -> Path:
        return self._path / "results.json"

    @property
    def _unfinished(self) -> Path:
        return self._path / "unfinished.json"

    @property
    def _samples(self) -> Path:
        return self._path / "samples.jsonl"

    def _compare(self, file: Path) -> None:
        try:
            there = json.loads(file.read_bytes())
        except ValueError as error:
            raise UsageError(f"{file}: expected JSON: {error}") from None
        if changed := difference(there, self._asked):
            raise UsageError(
                f"--output={self._path}: holds an evaluation that differs by {changed}; expected the same command "
                "or another folder"
            )

    def _make(self) -> None:
        """The folder, with the samples that are kept and no torn line behind them."""
        self._is_made = True
        self._path.mkdir(parents=True, exist_ok=True)
        write_atomic(self._unfinished, json.dumps(self._asked, indent=2) + "\n")
        write_atomic(self._samples, record_files.lines(self.records))

    def add(self, records: Sequence[dict]) -> None:
        """Appends a batch. The folder is made with the first one: a model that makes no numbers leaves nothing.

        Raises:
            RunError: log-probabilities that are no finite numbers.
        """
        if not all(abs(x) < float("inf") for record in records for x in record["logprobs"]):
            raise RunError(
                f"--model={self._asked['model']}: its log-probabilities are not finite numbers; nothing was written"
            )
        if not self._is_made:
            self._make()
        record_files.append(self._samples, records)
        self.records += records

    def finish(self, summary: Mapping[str, Any]) -> None:
        self.results = {**self._asked, **summary}
        write_atomic(self._results, json.dumps(self.results, indent=2, allow_nan=False) + "\n")
        self._unfinished.unlink(missing_ok=True)
