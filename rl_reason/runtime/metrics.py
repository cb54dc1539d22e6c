"""The records of a run: metrics.jsonl, eval.jsonl and samples.jsonl, and the same numbers for TensorBoard and W&B."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import tensorboardX

from rl_reason.runtime.weights_and_biases import WeightsAndBiases
from rl_reason.runtime.workdir import Workdir

# TensorBoard has no "@" in names, and tensorboardX says so at every write.
logging.getLogger("tensorboardX.summary").setLevel(logging.WARNING)


class MetricsWriter:
    """Appends records to a run's folder; each line is flushed, so a kill loses at most the line being written.

    Args:
      workdir: the run's folder, which exists.
      resume_step: the step that the restored state has reached: records of later steps are dropped, because those
        steps run again. −1: a fresh start, nothing is kept (0 keeps an evaluation made before the first step).
      enabled: False on all hosts but the first, which alone writes; then every method does nothing.
      others: further files of records with a `step`, for `write_others`.
      evaluated: the last step whose evaluations stay; None: `resume_step`.
      wandb: a project of Weights & Biases that has the numbers too (`runtime.weights_and_biases`); "": none.
    """

    def __init__(
        self,
        workdir: Workdir | str | os.PathLike,
        resume_step: int,
        *,
        enabled: bool = True,
        others: Iterable[Path] = (),
        evaluated: int | None = None,
        wandb: str = "",
    ):
        self._workdir = workdir if isinstance(workdir, Workdir) else Workdir(Path(workdir))
        self._files: dict[Path, TextIO] = {}
        self._enabled = enabled
        if not enabled:
            return
        for path in (self._workdir.metrics, self._workdir.eval, self._workdir.samples, *others):
            is_eval = path == self._workdir.eval and evaluated is not None
            _truncate(path, evaluated if is_eval else resume_step)  # type: ignore[arg-type]
            self._files[path] = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed in close()
        self._tensorboard = tensorboardX.SummaryWriter(
            str(self._workdir.tensorboard),
            purge_step=resume_step + 1,
            flush_secs=10,
            # The file's name has whole seconds only, and an existing file of that name would be overwritten.
            filename_suffix=f".{time.time_ns()}",
        )
        self._wandb = WeightsAndBiases(self._workdir, wandb) if wandb else None

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """One line of metrics.jsonl. `step` is the step that ended; values are scalars, NaN and infinities become null.

        Raises `TypeError` for a value that is no number.
        """
        if not self._enabled:
            return
        record = {"step": int(step)} | {name: _number(name, value) for name, value in metrics.items()}
        self._append(self._workdir.metrics, [record])
        self._tell(int(step), {name: value for name, value in record.items() if value is not None})

    def write_eval(self, record: Mapping[str, Any]) -> None:
        """One line of eval.jsonl: `step`, `dataset`, `n`, `pass@1`, `pass@1_ci95` and what else was measured."""
        if not self._enabled:
            return
        clean = _step_first(record)
        self._append(self._workdir.eval, [clean])
        numbers = {name: value for name, value in clean.items() if isinstance(value, int | float)}
        self._tell(clean["step"], numbers, f"eval/{clean.get('dataset', '')}/")

    def write_samples(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Lines of samples.jsonl: `step`, `prompt`, `completion`, `answer`, `rewards`, `advantage`."""
        if self._enabled:
            self._append(self._workdir.samples, [_step_first(record) for record in records])

    def write_others(self, path: Path, records: Iterable[Mapping[str, Any]]) -> None:
        """Lines of one of the other files."""
        if self._enabled:
            self._append(path, [_step_first(record) for record in records])

    def close(self, failed: bool = False) -> None:
        if not self._enabled:
            return
        for file in self._files.values():
            file.close()
        self._tensorboard.close()
        if self._wandb:
            self._wandb.close(failed)

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        self.close(failed=kind is not None)

    def _tell(self, step: int, record: Mapping[str, float], prefix: str = "") -> None:
        """Finite numbers by name, for all that draw curves of them."""
        scalars = {f"{prefix}{name}": value for name, value in record.items() if name != "step"}
        for name, value in scalars.items():
            self._tensorboard.add_scalar(name, value, step)
        if self._wandb:
            self._wandb.log(step, scalars)

    def _append(self, path: Path, records: list[dict[str, Any]]) -> None:
        file = self._files[path]
        file.write("".join(json.dumps(record, allow_nan=False) + "\n" for record in records))
        file.flush()


def read_jsonl(path: str | os.PathLike) -> Iterator[dict[str, Any]]:
    """The objects of a JSON Lines file; none if it is absent. Torn lines (a kill while writing) are skipped."""
    if not os.path.exists(path):
        return
    with open(path, "rb") as file:
        for line in file:
            record = _parse(line)
            if record is not None:
                yield record


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _truncate(path: Path, last_step: int) -> None:
    """Drops records after `last_step` and torn lines. A kill meanwhile leaves the old file or the new one."""
    if not path.exists():
        return
    temporary = path.with_name(f".{path.name}.tmp")
    with open(path, "rb") as old, open(temporary, "wb") as new:
        for line in old:
            record = _parse(line)
            step = record.get("step") if record is not None else None
            if isinstance(step, int) and step <= last_step:
                # The newline is written anew: a kill may have cut just that off.
                new.write(line.rstrip(b"\n") + b"\n")
    os.replace(temporary, path)


def _step_first(record: Mapping[str, Any]) -> dict[str, Any]:
    return {"step": int(record["step"])} | {k: _plain(v) for k, v in record.items() if k != "step"}


def _number(name: str, value: Any) -> float | int | None:
    """A finite Python number, or None. Accepts Python, numpy and jax scalars (arrays without axes)."""
    if value is None:
        return None
    array = np.asarray(value)
    # bfloat16 and its kin are of kind "V" to numpy, and convert to float all the same.
    if array.ndim != 0 or array.dtype.kind not in "biufV":
        raise TypeError(f"metric {name!r}: expected a number, got {type(value).__name__} {str(value)[:40]!r}")
    # By way of text: the float32 nearest to 0.1 is written as 0.1, not as 0.10000000149011612.
    number = int(array) if array.dtype.kind in "biu" else float(str(array))
    return number if math.isfinite(number) else None


def _plain(value: Any) -> Any:
    """JSON values from nested containers with numpy and jax values; numbers that are not finite become None."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    array = np.asarray(value)
    if array.ndim:
        return [_plain(v) for v in array]
    return bool(array) if array.dtype.kind == "b" else _number("value", array)
