"""What a folder holds that a page can be made of."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl_reason.errors import UsageError
from rl_reason.runtime import curves
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.workdir import Workdir

_MOST_NAMED = 5


@dataclass(frozen=True)
class Run:
    """A folder's contents, but for its samples."""

    path: Path
    name: str
    kind: str
    """"run", "pipeline", "evaluation" or "samples" (of `rl_reason.generate`)."""
    config: Mapping[str, Any]
    """As it is written in config.json; of an evaluation its flags."""
    environment: Mapping[str, Any]
    series: curves.Series
    evals: curves.Evals
    stages: Sequence[Mapping[str, str]]
    """Rows of a pipeline's table."""
    corrections: Sequence[Mapping[str, Any]] | None
    """None of a run that does not look for them."""
    samples: Sequence[Path]
    """Files of samples, in their order."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been written yet that could be shown."""
        return not (self.series or self.evals or self.stages or any(file.stat().st_size for file in self.samples))


def read_runs(folders: Sequence[str | os.PathLike]) -> list[Run]:
    """The runs of these folders, with names that differ.

    Raises:
        UsageError: a folder that is absent, given twice or holds none.
    """
    paths = [Path(folder) for folder in folders]
    places = [path.resolve() for path in paths]
    for i, place in enumerate(places):
        if place in places[:i]:
            raise UsageError(f"{paths[i]}: given twice; expected folders of different runs")
    return [_read_run(path, name) for path, name in zip(paths, _names(places), strict=True)]


def _names(places: Sequence[Path]) -> list[str]:
    """The last parts of paths, as many as make them differ."""
    for count in range(1, max((len(place.parts) for place in places), default=1) + 1):
        names = ["/".join(place.parts[-count:]) for place in places]
        if len(set(names)) == len(names):
            return names
    return [str(place) for place in places]


def _read_run(path: Path, name: str) -> Run:
    if not path.is_dir():
        found = "a file" if path.exists() else "no such folder"
        raise UsageError(f"{path}: {found}; expected the folder of a run or of an evaluation")
    workdir = Workdir(path)
    # What an evaluation asks stands in the second file until there are results.
    for file in (path / "results.json", path / "unfinished.json"):
        if not workdir.config.exists() and file.exists():
            return _evaluation(path, name, _read_json(file))
    if not workdir.config.exists():
        raise UsageError(f"{path}: not the folder of a run: expected a config.json in it, or results.json{_hint(path)}")
    config = _read_json(workdir.config)
    samples = [workdir.samples] if workdir.samples.exists() else sorted(path.glob("samples-*.jsonl"))
    is_generated = not workdir.metrics.exists() and bool(samples)
    is_pipeline = config.get("recipe") == "pipeline"
    return Run(
        path=path,
        name=name,
        kind="pipeline" if is_pipeline else "samples" if is_generated else "run",
        config=config,
        environment=_read_json(workdir.environment) if workdir.environment.exists() else {},
        series=curves.read_series(workdir),
        evals=curves.read_evals(workdir),
        stages=json.loads(workdir.stages.read_bytes()) if workdir.stages.exists() else [],
        corrections=list(read_jsonl(workdir.corrections)) if workdir.corrections.exists() else None,
        samples=samples,
    )


def _evaluation(path: Path, name: str, results: Mapping[str, Any]) -> Run:
    """A folder of `rl_reason.evaluate`: what was asked stands before `n`, what was measured behind it."""
    if not {"model", "data"} <= results.keys():
        raise UsageError(
            f"{path}: not the folder of a run: its results.json is of no `rl_reason.evaluate`{_hint(path)}"
        )
    keys = list(results)
    asked = keys[: keys.index("n")] if "n" in keys else keys
    measured = {key: value for key, value in results.items() if key not in asked}
    of_data = {str(results["data"]): [{"step": 0, **measured}]} if measured else {}
    samples = path / "samples.jsonl"
    return Run(
        path=path,
        name=name,
        kind="evaluation",
        config={key: results[key] for key in asked},
        environment={},
        series={},
        evals=of_data,
        stages=[],
        corrections=None,
        samples=[samples] if samples.exists() else [],
    )


def _hint(path: Path) -> str:
    """The folders of runs one level below, which may have been meant."""
    below = sorted(entry.name for entry in path.iterdir() if (entry / "config.json").is_file())
    if not below:
        return ""
    more = ", …" if len(below) > _MOST_NAMED else ""
    return f"; its folders {', '.join(below[:_MOST_NAMED])}{more} are of runs"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: expected a JSON object: {str(error).splitlines()[0]}") from None
    if not isinstance(value, dict):
        raise UsageError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value
