"""The stages of a pipeline: what each one is, which outputs of earlier ones it takes, and which are behind."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl_reason.errors import UsageError, nearest
from rl_reason.runtime.workdir import write_atomic
from rl_reason.settings import Settings

FILE = "stages.json"
_REFERENCE = re.compile(r"stage:(\w+)(?:/([\w.]+))?")
_NAME = re.compile(r"[a-z]\w*")
_EXPORT = ("export",)
OUTPUTS: Mapping[str, tuple[str, ...]] = {
    "distillation": _EXPORT,
    "policy_gradient": _EXPORT,
    "preference": _EXPORT,
    "pretraining": _EXPORT,
    "reward_model": _EXPORT,
    "supervised": _EXPORT,
    "rejection": (*_EXPORT, "collected.jsonl", "selected.jsonl"),
    "feedback": ("preferences.jsonl",),
    "generate": ("",),
    "rank": ("pairs.jsonl",),
    "select": ("selected.jsonl",),
    "clean": ("kept.jsonl", "removed.jsonl"),
    "synthesis": ("problems.jsonl", "reinforcement.jsonl", "held_out.jsonl"),
}
"""Recipe → what a later stage can take of its folder; "": the folder itself."""


@dataclass(frozen=True)
class Stage:
    """One stage, whose settings still name outputs of others."""

    name: str
    config: Mapping[str, Any]
    """All of its settings, as a dictionary."""
    settings: Settings
    """The same, for what does not depend on other stages."""
    inputs: tuple[str, ...]
    """The stages whose outputs it takes."""

    def resolved(self, workdir: Path) -> Settings:
        """Its settings with the paths of the outputs that it takes, below the pipeline's folder."""

        def path(match: re.Match) -> str:
            return str(workdir / match[1] / (match[2] or ""))

        return Settings.from_dict(_map_texts(self.config, lambda text: _REFERENCE.sub(path, text)))


def read_stages(settings: Settings) -> list[Stage]:
    """The stages in their order; each runs with the seed of the pipeline added to its own.

    Raises:
        UsageError: no stages, names without a stage or the other way round, settings that are wrong in themselves, or
            an input that no earlier stage makes.
    """
    order, configs = settings.pipeline.stages, settings.stages
    if not order:
        raise UsageError("config.pipeline.stages=(): expected names of stages")
    if sorted(order) != sorted(configs):
        raise UsageError(
            f"config.pipeline.stages={order!r}: expected each of config.stages once: {', '.join(configs) or 'none'}"
        )
    stages: list[Stage] = []
    for name in order:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UsageError(f"config.pipeline.stages={order!r}: expected names of small letters, digits and '_'")
        stages.append(_read_stage(name, configs[name], settings.seed, stages))
    return stages


def _read_stage(name: str, config: Any, seed: int, earlier: Sequence[Stage]) -> Stage:
    prefix = f"config.stages.{name}"
    if not isinstance(config, dict):
        raise UsageError(f"{prefix}={config!r}: expected the settings of a stage")
    own = Settings.from_dict(config, prefix)
    if own.recipe not in OUTPUTS and ":" not in own.recipe:
        raise UsageError(f"{prefix}.recipe={own.recipe!r}: is no recipe of a stage{nearest(own.recipe, OUTPUTS)}")
    made = {stage.name: OUTPUTS.get(stage.settings.recipe) for stage in earlier}
    inputs = []
    for key, text in _texts(config, prefix):
        for other, file in _REFERENCE.findall(text):
            if other not in made:
                known = ", ".join(made) or "none, it is the first"
                raise UsageError(
                    f"{key}={text!r}: stage {name!r} needs an output of {other!r}, which no earlier stage is; expected "
                    f"one of these: {known}"
                )
            outputs = made[other]
            # What a recipe of the user's own makes is not known.
            if outputs is not None and file not in outputs:
                offered = " or ".join(f"'stage:{other}/{output}'".replace("/'", "'") for output in outputs)
                raise UsageError(
                    f"{key}={text!r}: stage {name!r} needs an output that stage {other!r} does not make; expected "
                    f"{offered}"
                )
            inputs.append(other)
    config = {**config, "seed": own.seed + seed}
    return Stage(name, config, dataclasses.replace(own, seed=own.seed + seed), tuple(dict.fromkeys(inputs)))


def check_files(stages: Sequence[Stage]) -> None:
    """Raises `UsageError` where a stage names a file, .jsonl, that is not there and that no stage makes: else the last
    stage would tell so when all others are done."""
    for stage in stages:
        for key, text in _texts(stage.config, f"config.stages.{stage.name}"):
            if ".jsonl" not in text or Path(text).expanduser().is_file():
                continue
            for part in text.split("+"):
                if part.endswith(".jsonl") and not _REFERENCE.search(part) and not Path(part).expanduser().is_file():
                    told = f"stage {stage.name!r}: {key}={text!r}"
                    raise UsageError(f"{told}: no such file {part!r}; expected one of yours")


@dataclass(frozen=True)
class Finished:
    """Which stages of a pipeline's folder are behind, and when each one was: `stages.json`."""

    folder: Path
    stages: dict[str, dict[str, Any]]
    """Name → `seconds` of all commands that have worked on what is in its folder, but for those that were killed; of a
    stage that is behind also `finished`, a time as text, and `inputs`: the stages that it took something of, with the
    time when they were finished."""

    @staticmethod
    def read(folder: Path) -> Finished:
        file = folder / FILE
        return Finished(folder, json.loads(file.read_text()) if file.exists() else {})

    def has(self, stage: Stage, config: Mapping[str, Any]) -> bool:
        """Whether the stage is behind, with this config and these inputs; one whose folder was removed is not.

        Raises:
            UsageError: it was made from inputs that have been made anew since.
        """
        record, file = self.stages.get(stage.name, {}), self.folder / stage.name / "config.json"
        if "finished" not in record or not file.exists():
            return False
        for other in stage.inputs:
            if record["inputs"].get(other) != self._time(other):
                raise UsageError(
                    f"stage {stage.name!r}: {self.folder / stage.name} was made from another {other!r} than there is "
                    f"now; expected that folder to be removed, so that the stage runs again"
                )
        return json.loads(file.read_text()) == json.loads(json.dumps(config))

    def _time(self, name: str) -> str | None:
        return self.stages.get(name, {}).get("finished")

    def begin(self, stage: Stage) -> None:
        """Writes that the stage is under way: one that was done with other settings is so no more."""
        is_there = (self.folder / stage.name / "config.json").exists()
        self._write(stage, {"seconds": self.stages.get(stage.name, {}).get("seconds", 0.0) if is_there else 0.0})

    def stop(self, stage: Stage, seconds: float) -> None:
        """Writes how long a command has worked on the stage that did not finish it."""
        self._write(stage, {"seconds": round(self.stages[stage.name]["seconds"] + seconds, 1)})

    def add(self, stage: Stage, now: str, seconds: float) -> None:
        """Writes that the stage is done, after so many seconds of this command."""
        self.stop(stage, seconds)
        inputs = {other: self._time(other) for other in stage.inputs}
        self._write(stage, {**self.stages[stage.name], "finished": now, "inputs": inputs})

    def _write(self, stage: Stage, record: dict[str, Any]) -> None:
        self.stages[stage.name] = record
        write_atomic(self.folder / FILE, json.dumps(self.stages, indent=2) + "\n")


def _texts(tree: Any, key: str) -> Iterator[tuple[str, str]]:
    """(key, text) of all texts in the settings of a stage."""
    if isinstance(tree, str):
        yield key, tree
    elif isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from _texts(value, f"{key}.{name}")
    elif isinstance(tree, (tuple, list)):
        for value in tree:
            yield from _texts(value, key)


def _map_texts(tree: Any, change) -> Any:
    if isinstance(tree, str):
        return change(tree)
    if isinstance(tree, Mapping):
        return {name: _map_texts(value, change) for name, value in tree.items()}
    return tuple(_map_texts(value, change) for value in tree) if isinstance(tree, (tuple, list)) else tree
