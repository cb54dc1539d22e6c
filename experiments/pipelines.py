"""Pipelines on several seeds: what their stages' evaluations say, and how sure that is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.commands import call
from experiments.methods.run import interval
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.workdir import Workdir

MEASURES = ("pass@1", "maj@4", "format", "language/mixed", "tokens/completion")
SHARES = MEASURES[:-1]
BY_LANGUAGE = tuple(f"{name}/{language}" for name in ("pass@1", "language/mixed") for language in ("en", "zh"))


def train(config: str, seed: int, folder: Path, overrides: Sequence[str] = ()) -> None:
    """A run, or what is left of it."""
    call(train_command(config, seed, folder, overrides), folder)


def train_command(config: str, seed: int, folder: Path, overrides: Sequence[str] = ()) -> list[str]:
    return ["rl_reason.train", f"--config={config}", f"--config.seed={seed}", *overrides, f"--workdir={folder}"]


def read_stage(folder: Path) -> dict[str, dict]:
    """The first and the last evaluation of a run; empty where it has none."""
    records = list(read_jsonl(Workdir(folder).eval))
    kept = (*MEASURES, *(f"{name}_ci95" for name in MEASURES), *BY_LANGUAGE)
    pick = lambda record: {name: record[name] for name in kept if name in record}  # noqa: E731
    return {"before": pick(records[0]), "after": pick(records[-1])} if records else {}


def by_step(folder: Path) -> dict[int, dict[str, dict]]:
    """All evaluations of a run: step → data set → record."""
    steps: dict[int, dict[str, dict]] = {}
    for record in read_jsonl(Workdir(folder).eval):
        steps.setdefault(record["step"], {})[record["dataset"].partition("/")[0]] = record
    return steps


def read_stages(folder: Path) -> dict[str, dict]:
    """Of a pipeline that is done: stage → its evaluations and the seconds that it took."""
    finished = json.loads((folder / "stages.json").read_text())
    return {name: read_stage(folder / name) | {"seconds": record["seconds"]} for name, record in finished.items()}


def over_seeds(values: Sequence[float | None], scale: float = 1) -> str:
    """Their mean with the 95% interval of the mean, by Student's t; one value by itself."""
    known = [scale * value for value in values if value is not None]
    if not known:
        return "–"
    middle, width = interval(known)
    return f"{middle:.1f} ± {width:.1f}" if len(known) > 1 else f"{middle:.1f}"


def table_rows(results: Sequence[Mapping], stages: Mapping[str, str], measures: Sequence[str]) -> list[list[str]]:
    """A row for each of `stages` (name → what the row is called): its last evaluation, over seeds."""
    rows = []
    for stage, label in stages.items():
        of_seeds = [result["stages"][stage]["after"] for result in results]
        cells = [
            over_seeds([record.get(name) for record in of_seeds], 1 if name.startswith("tokens") else 100)
            for name in measures
        ]
        rows.append([label, *cells])
    return rows
