"""The folder of a generation while it is made: whole shards, and the samples behind them batch by batch.

    config.json             the settings
    generation.json         what these are samples of, and how many there are of which kind
    samples-00000.jsonl …   shards, which are never touched again
    unfinished-00002.jsonl  the samples behind the last shard, while there are more to come

What a command that was stopped has left is kept, but for a batch that is not whole.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rl_reason.data.generated import DESCRIPTION, read_description, read_shard, shard, write_shard
from rl_reason.errors import RunError, UsageError
from rl_reason.recipes import record_files
from rl_reason.runtime.workdir import Workdir, make_workdir, write_atomic

_OTHER = {
    "data_sha256": "other problems",
    "model_sha256": "other weights",
    "graders": "another version of a reward",
}
"""What stands in a description beside what `config.json` has compared."""

COUNTED = ("samples", "right", "truncated", "failures", "tokens")
"""Tokens are those of models that run here; what a server says stands in `asked`."""


class GenerationFolder:
    """The first host has it, and writes.

    Args:
        workdir: the folder, which need not be there.
        config: of the run.
        asked: JSON values that say what is sampled: `problems`, `samples`, `format` and what else makes a sample what
            it is.
        shard_size: samples of a shard, at most.

    Raises:
        UsageError: the folder holds samples of something else.
    """

    def __init__(self, workdir: Workdir, config: Mapping[str, Any], asked: Mapping[str, Any], shard_size: int):
        self._workdir, self._config, self._asked = workdir, config, json.loads(json.dumps(asked))
        self._path, self._format = workdir.path, asked["format"]
        # A question's samples stay together.
        self._per_shard = max(shard_size // asked["samples"], 1) * asked["samples"]
        self._shards = 0
        self._behind: list[dict] = []
        """Records that are in no shard yet."""
        self._counts: Counter[str] = Counter()
        self._used: dict[str, dict[str, int]] = {}
        """What servers were asked by commands that were stopped."""
        self.description: dict[str, Any] | None = None
        """As it stands in the folder, where there is one."""
        if (self._path / DESCRIPTION).is_file():
            self.description = read_description(self._path)
            self._compare(self.description)
            self._used = self.description["asked"]
            if self.is_finished:
                self._clear()

    def _compare(self, there: Mapping[str, Any]) -> None:
        for name, value in self._asked.items():
            if there.get(name) != value:
                changed = _OTHER.get(
                    name, f"`{name}`, {json.dumps(there.get(name))} there and {json.dumps(value)} here"
                )
                raise UsageError(
                    f"--workdir={self._path}: holds samples that differ by {changed}; expected the same, or "
                    "another folder"
                )

    @property
    def is_finished(self) -> bool:
        return self.description is not None and self.description["finished"]

    def resume(self, ids: Sequence[str], at_once: int) -> int:
        """Finds what is there, and makes the folder where there is none.

        Args:
            ids: of the problem of each record, when all are there.
            at_once: records of a batch.

        Returns:
            Records that are kept, whole problems.

        Raises:
            RunError: they are records of other problems.
        """
        while (file := shard(self._path, self._shards, self._format)).is_file():
            self._count(read_shard(file))
            self._shards += 1
        self._behind = record_files.read_kept(self._unfinished, ids, at_once, self._counts["samples"])
        self._count(self._behind)
        make_workdir(self._workdir, self._config)
        self.describe({})
        # No torn line behind what is kept.
        write_atomic(self._unfinished, record_files.lines(self._behind))
        self._clear(self._unfinished)
        return self._counts["samples"]

    def _clear(self, but: Path | None = None) -> None:
        """Takes away what a kill has left that stands elsewhere by now."""
        for file in self._path.glob("unfinished-*.jsonl"):
            if file != but:
                file.unlink()

    @property
    def _unfinished(self) -> Path:
        return self._path / f"unfinished-{self._shards:05d}.jsonl"

    def add(self, records: Sequence[dict]) -> None:
        """Appends a batch; cuts off what fills a shard.

        Raises:
            RunError: log-probabilities that are no finite numbers.
        """
        if not all(abs(x) < float("inf") for record in records for x in record.get("logprobs", ())):
            raise RunError(
                f"config.model.path={self._asked['model']!r}: its log-probabilities are not finite numbers; what has "
                "them was not written"
            )
        record_files.append(self._unfinished, records)
        self._behind += records
        self._count(records)
        while len(self._behind) >= self._per_shard:
            self._cut()

    def _cut(self) -> None:
        whole, self._behind = self._behind[: self._per_shard], self._behind[self._per_shard :]
        before, file = self._unfinished, shard(self._path, self._shards, self._format)
        # In this order a kill between two of these leaves every record where it is looked for.
        self._shards += 1
        write_atomic(self._unfinished, record_files.lines(self._behind))
        write_shard(file, whole)
        before.unlink()

    def _count(self, records: Sequence[dict]) -> None:
        self._counts["samples"] += len(records)
        for record in records:
            self._counts["right"] += record["correct"]
            self._counts["truncated"] += record["finish"] == "length"
            self._counts["failures"] += "failure" in record
            self._counts["tokens"] += len(record.get("tokens", ()))

    def describe(self, used: Mapping[str, Mapping[str, int]], finished: bool = False) -> None:
        """Writes generation.json.

        Args:
            used: server ("endpoint", "judge") → what it was asked by this command (`runtime.endpoint.COUNTS`).
            finished: whether all is there.
        """
        asked = {
            server: {name: count + self._used.get(server, {}).get(name, 0) for name, count in counts.items()}
            for server, counts in used.items()
        }
        self.description = {
            "finished": finished,
            **self._asked,
            "shards": self._shards,
            "counts": {name: self._counts[name] for name in COUNTED},
            "asked": {**self._used, **asked},
        }
        write_atomic(self._path / DESCRIPTION, json.dumps(self.description, indent=2) + "\n")

    def finish(self, used: Mapping[str, Mapping[str, int]]) -> None:
        if self._behind:
            write_shard(shard(self._path, self._shards, self._format), self._behind)
            self._shards += 1
        self.describe(used, finished=True)
        self._clear()
