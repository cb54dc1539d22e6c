"""The folder of a run: which files lie in it, and whether a command may continue what it finds there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl_reason.errors import UsageError

FREE_KEYS = (
    "steps", "checkpoint", "log", "watchdog", "profile",
    "mesh", "model.offload", "model.remat", "algorithm.micro_batch", "sampling.batch_size",
    "pipeline", "stages",
    *(f"synthesis.{key}" for key in ("figures", "held_out", "reinforcement", "writings", "workers")),
    *(f"{server}.{key}" for server in ("judge", "endpoint")
       for key in ("url", "key_variable", "timeout", "tries", "concurrency", "cache")),
)  # fmt: skip
"""How long, how often, how loudly, and on what: a run that differs only in these goes on with the same computation, to
rounding. A server is known by the name of its model, wherever it runs; the stages of a pipeline have folders of their
own, which are looked at one by one."""
_MOST_TOLD = 5
_ABSENT = "(absent)"


@dataclass(frozen=True)
class Workdir:
    """Names of the files in a run's folder. The folder itself exists."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def model(self) -> Path:
        """A Hugging Face folder without weights: config and tokenizer."""
        return self.path / "model"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def eval(self) -> Path:
        return self.path / "eval.jsonl"

    @property
    def samples(self) -> Path:
        return self.path / "samples.jsonl"

    @property
    def corrections(self) -> Path:
        """The first completions of policy-gradient training that correct themselves."""
        return self.path / "corrections.jsonl"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def wandb_id(self) -> Path:
        """Of the run at Weights & Biases."""
        return self.path / "wandb_id.txt"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def curves(self) -> Path:
        return self.path / "curves.png"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def stages(self) -> Path:
        """Of a pipeline: a list of rows of its table, each from column to text."""
        return self.path / "stages_table.json"


def find_workdir(path: str | os.PathLike, config: Mapping[str, Any]) -> Workdir:
    """Looks whether a folder may hold a run of this config: it is absent, or empty, or holds one. Changes nothing.

    Args:
      path: the run's folder.
      config: nested dictionary of JSON values (tuples count as lists), as from `ConfigDict.to_dict()`.

    Raises:
      UsageError: the folder holds a run of another config, or files that are no run.
    """
    if "://" in str(path):
        raise UsageError(f"--workdir={path}: expected a folder of a mounted file system, not an address")
    workdir = Workdir(Path(path))
    if workdir.path.exists() and not workdir.path.is_dir():
        raise UsageError(f"--workdir={path}: expected a folder, found a file")
    if workdir.config.exists():
        differences = _differences(_read_config(workdir.config), _as_json(config))
        if differences:
            told = [f"config.{key} is {there} there and {here} here" for key, there, here in differences]
            more = "".join(f", config.{key}" for key, _, _ in differences[_MOST_TOLD:])
            raise UsageError(
                f"--workdir={path}: holds a run of another config: {', '.join(told[:_MOST_TOLD])}{more}; "
                "expected the same config or another folder"
            )
    elif workdir.path.is_dir():
        # A half-written config is what a kill during the very first write leaves behind: still an empty folder.
        found = [entry.name for entry in workdir.path.iterdir() if not _is_temporary(entry.name)]
        if found:
            raise UsageError(
                f"--workdir={path}: holds {min(found)!r} but no config.json; expected an empty folder or a run's"
            )
    return workdir


def make_workdir(workdir: Workdir, config: Mapping[str, Any]) -> None:
    """Makes the folder, and its parents, with `config.json`; one that is there gets what changed in `FREE_KEYS`."""
    new = _as_json(config)
    if not workdir.config.exists() or _read_config(workdir.config) != new:
        workdir.path.mkdir(parents=True, exist_ok=True)
        write_atomic(workdir.config, json.dumps(new, indent=2) + "\n")


def _as_json(config: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(config))


def write_atomic(path: str | os.PathLike, content: str | bytes) -> None:
    """Writes a file such that a reader, or a kill at any time, sees the old content or the new one, never a part."""
    path = Path(path)
    # The process id keeps two processes on one file system out of each other's half-written file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _is_temporary(name: str) -> bool:
    return name.startswith(".config.json.") and name.endswith(".tmp")


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_bytes())
    except ValueError as error:
        raise UsageError(f"{path}: expected JSON, found {str(error).splitlines()[0]}") from None
    if not isinstance(config, dict):
        raise UsageError(f"{path}: expected a JSON object, found {type(config).__name__}")
    return config


def _differences(old: Mapping, new: Mapping) -> list[tuple[str, str, str]]:
    """(dotted key, value in `old`, value in `new`) of all differences, in `new`'s order; `FREE_KEYS` apart."""
    old_leaves, new_leaves = _leaves(old), _leaves(new)
    keys = [key for key in {**new_leaves, **old_leaves} if not f"{key}.".startswith(tuple(f"{k}." for k in FREE_KEYS))]
    values = [(key, old_leaves.get(key, _ABSENT), new_leaves.get(key, _ABSENT)) for key in keys]
    return [(key, there, here) for key, there, here in values if there != here]


def _leaves(tree: Mapping, prefix: str = "") -> dict[str, str]:
    """Dotted key → value as JSON text, so that 1 differs from true, NaN equals NaN and 1.0 equals 1.0."""
    leaves: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            leaves |= _leaves(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = json.dumps(value)
    return leaves
