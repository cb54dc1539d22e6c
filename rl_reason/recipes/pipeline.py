"""Recipes one behind the other, as DeepSeek-R1 was made (arXiv 2501.12948, section 2.3).

    for each stage:
        its inputs are outputs of earlier stages      ("stage:NAME/export", see `stages`)
        run its recipe in a folder of its own         (one that was stopped goes on where it was)
        note that it is done                          (stages.json)
    a table of all stages' evaluations            (stages_table.json, report.html)

Beside the folders of the stages lie their records as those of one long run, its steps counted through.
"""

from __future__ import annotations

import dataclasses
import datetime
import gc
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from rl_reason.errors import RunError, UsageError
from rl_reason.parallel import hosts
from rl_reason.recipes.checks import OF_RECIPES
from rl_reason.recipes.checks.common import unread
from rl_reason.recipes.stages import Finished, Stage, check_files, read_stages
from rl_reason.registry import resolve
from rl_reason.runtime.curves import draw_curves
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.progress import duration, table
from rl_reason.runtime.report import write_report
from rl_reason.runtime.workdir import Workdir, find_workdir, make_workdir, write_atomic
from rl_reason.settings import Settings


def run(settings: Settings, workdir_path: str | Path) -> None:
    """Runs all stages in folders below `workdir_path`; goes on where it was stopped.

    Raises:
        UsageError, RunError: those of a stage, with its name. What was made so far is kept.
    """
    stages = check(settings)
    check_files(stages)
    config = settings.to_config().to_dict()
    workdir = find_workdir(workdir_path, config)
    hosts.wait("pipeline: looked at")
    if hosts.is_first():
        make_workdir(workdir, config)
    for number, stage in enumerate(stages, 1):
        title = f"stage {number} of {len(stages)}, {stage.name}"
        _run_stage(stage, workdir, title)
        if hosts.is_first():
            _join_records(workdir, stages[:number])
    if hosts.is_first():
        _close(workdir, stages)


def check(settings: Settings) -> list[Stage]:
    """The stages, each of which is right in itself: what is wrong with the last one is told before the first runs."""
    keys = [field.name for field in dataclasses.fields(Settings)]
    of_stages = tuple(key for key in keys if key not in ("recipe", "seed", "pipeline", "stages"))
    unread(settings, of_stages, "by a pipeline, whose stages have their own")
    stages = read_stages(settings)
    for stage in stages:
        with _named(stage.name):
            if stage.settings.recipe in OF_RECIPES:
                OF_RECIPES[stage.settings.recipe](stage.settings)
    return stages


class _named:
    """Puts the name of a stage before the line of an error."""

    def __init__(self, name: str):
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, (UsageError, RunError)):
            raise type(error)(f"stage {self._name!r}: {error}") from error


def _run_stage(stage: Stage, workdir: Workdir, title: str) -> None:
    # Imported here: the table of recipes holds this one too.
    from rl_reason.recipes import RECIPES

    settings = stage.resolved(workdir.path)
    finished = Finished.read(workdir.path)
    is_done = finished.has(stage, settings.to_config().to_dict())
    if hosts.is_first():
        print(f"{title}: {'is done' if is_done else settings.recipe}", flush=True)
    hosts.wait(f"{title}: read")
    if is_done:
        return
    recipe: Callable[[Settings, Path], None] = resolve(settings.recipe, RECIPES, f"config.stages.{stage.name}.recipe")
    begun = time.monotonic()
    if hosts.is_first():
        finished.begin(stage)
    try:
        with _named(stage.name):
            recipe(settings, workdir.path / stage.name)
    except BaseException:
        if hosts.is_first():
            finished.stop(stage, time.monotonic() - begun)
        raise
    hosts.wait(f"{title}: done")
    if hosts.is_first():
        finished.add(stage, datetime.datetime.now().isoformat(timespec="milliseconds"), time.monotonic() - begun)
    hosts.wait(f"{title}: noted")
    # The next stage has other programs and weights: what this one leaves behind would lie beside them.
    jax.clear_caches()
    gc.collect()


def _join_records(workdir: Workdir, stages: Sequence[Stage]) -> None:
    """The records of all stages so far as those of one run. `stage` says which one a record is from: of metrics, which
    are numbers, its number."""
    metrics, evaluations, samples = [], [], []
    before = 0
    for number, stage in enumerate(stages, 1):
        own = Workdir(workdir.path / stage.name)
        of_metrics, of_evaluations = list(read_jsonl(own.metrics)), list(read_jsonl(own.eval))
        metrics += [record | {"step": before + record["step"], "stage": number} for record in of_metrics]
        evaluations += [record | {"step": before + record["step"], "stage": stage.name} for record in of_evaluations]
        samples += [
            record | {"step": before + record.get("step", 0), "stage": stage.name} for record in read_jsonl(own.samples)
        ]
        before += max((record["step"] for record in [*of_metrics, *of_evaluations]), default=0)
    for file, records in ((workdir.metrics, metrics), (workdir.eval, evaluations), (workdir.samples, samples)):
        write_atomic(file, "".join(json.dumps(record) + "\n" for record in records))


def _close(workdir: Workdir, stages: Sequence[Stage]) -> None:
    rows = stage_rows(workdir.path, stages)
    write_atomic(workdir.stages, json.dumps(rows, indent=2) + "\n")
    draw_curves(workdir)
    write_report(workdir)
    columns = ["stage", "recipe", "data set", "pass@1 before", "pass@1 after", "maj@k", "accuracy", "mixing"]
    columns = [name for name in (*columns, "tokens", "time") if name in rows[0]]
    table("stages", columns, [[row[column] for column in columns] for row in rows])
    print(f"The pipeline is in {workdir.path}: open curves.png and report.html, here and of each stage")


def stage_rows(folder: Path, stages: Sequence[Stage]) -> list[dict[str, str]]:
    """One row a stage and data set that it was evaluated on: its first and last pass@1, and the last majority of the
    most samples, with intervals; of a reward model its accuracy, and where problems have a language how often
    completions leave it."""
    seconds = {name: record["seconds"] for name, record in Finished.read(folder).stages.items()}
    rows = []
    for stage in stages:
        by_data: dict[str, list[dict]] = {}
        for record in read_jsonl(Workdir(folder / stage.name).eval):
            by_data.setdefault(record["dataset"], []).append(record)
        for data, records in by_data.items() or [("", [])]:
            first, last = (records[0], records[-1]) if records else ({}, {})
            rows.append(
                {
                    "stage": stage.name,
                    "recipe": stage.settings.recipe,
                    "data set": data,
                    "pass@1 before": _share(first, "pass@1"),
                    "pass@1 after": _share(last, "pass@1"),
                    "maj@k": next((_share(last, name) for name in reversed(last) if _is_majority(name)), ""),
                    "accuracy": _share(last, "accuracy"),
                    "mixing": _share(last, "language/mixed"),
                    "tokens": f"{last['tokens/completion']:.1f}" if "tokens/completion" in last else "",
                    "time": duration(seconds[stage.name]) if stage.name in seconds else "",
                }
            )
    told = {name for row in rows for name, value in row.items() if value}
    return [{name: value for name, value in row.items() if name in told} for row in rows]


def _is_majority(name: str) -> bool:
    return name.startswith("maj@") and name.removeprefix("maj@").isdecimal() and name != "maj@1"


def _share(record: Mapping[str, Any], name: str) -> str:
    if record.get(name) is None:
        return ""
    bounds = record.get(f"{name}_ci95")
    interval = f" [{100 * bounds[0]:.1f}, {100 * bounds[1]:.1f}]" if bounds else ""
    return f"{100 * record[name]:.1f}{interval}"
