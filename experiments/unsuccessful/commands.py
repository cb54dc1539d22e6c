"""The project's commands, each in a folder of its own, called once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from experiments.commands import call


def train(config: str, folder: Path, changes: Mapping[str, str]) -> None:
    """Trains the variant `tiny` of a config in `configs/`, unless the folder holds its export, which comes last."""
    if not (folder / "export").exists():
        flags = [f"--config.{key}={value}" for key, value in changes.items()]
        _call(folder, "train", f"--config=configs/{config}.py:tiny", f"--workdir={folder}", *flags)


def evaluate(folder: Path, flags: Mapping[str, object]) -> None:
    """Samples or searches, unless the folder holds the results, which are written last."""
    if not (folder / "results.json").exists():
        _call(folder, "evaluate", f"--output={folder}", *(f"--{name}={value}" for name, value in flags.items()))


def _call(folder: Path, name: str, *flags: str) -> None:
    """What the command says goes to a file beside its folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    call([f"rl_reason.{name}", *flags], folder, folder.with_name(f"{folder.name}.log"))
