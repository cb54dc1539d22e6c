"""Sampling one step ahead on the laptop task: seconds of a step and held-out accuracy, with and without it.

    python -m experiments.sampling_ahead.run --seeds=3 --output=runs/sampling_ahead

Each run is a command of its own in a folder of its own; the same command again goes on where it stopped. Writes
OUTPUT/results.json, OUTPUT/sampling_ahead.png and prints the tables. Times are those of seed 0 (`--seeds=1` first), and
mean something where nothing else runs meanwhile; what the other seeds learn does not depend on that.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.commands import call
from experiments.methods.run import interval
from rl_reason.errors import RunError, UsageError, run_command
from rl_reason.runtime.curves import COLORS
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.progress import Progress, table
from rl_reason.runtime.workdir import Workdir, write_atomic

CONFIG = "configs/grpo_math.py:tiny"
ORDERS = {
    "in turn": {},
    "ahead": {"sampling.ahead": "1", "algorithm.correction": "token_truncate"},
}
WAITING = {"reward.names": "('experiments.sampling_ahead.graders:waiting', 'format')"}
PHASES = ("sample", "reward", "score", "update")
SETTLED = 3
"""The first step whose time counts: before, functions are compiled, or sampling ahead has only begun."""

FLAGS: Spec = {
    "seeds": (int, 3, "seeds 0, 1, … learn, in either order"),
    "steps": (int, 25, "of a run that learns"),
    "timed": (int, 12, "steps of a run with a grader that waits, of which only the time is looked at"),
    "output": (str, "runs/sampling_ahead", "a folder for each run, results.json and sampling_ahead.png"),
    "draw": (bool, False, "run nothing; read the runs that are there"),
}


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    output = Path(flags["output"])
    for key, least in (("seeds", 1), ("steps", SETTLED + 1), ("timed", SETTLED + 1)):
        if flags[key] < least:
            raise UsageError(f"--{key}={flags[key]}: expected at least {least}")
    output.mkdir(parents=True, exist_ok=True)
    planned = [
        (order, "rules", seed, {**changes, "seed": str(seed), "steps": str(flags["steps"])})
        for seed in range(flags["seeds"])
        for order, changes in ORDERS.items()
    ]
    timed = {**WAITING, "steps": str(flags["timed"]), "evaluation.samples": "0", "evaluation.every": "0"}
    planned += [(order, "waiting", 0, {**changes, **timed}) for order, changes in ORDERS.items()]
    results: list[dict] = []
    with Progress(len(planned), title="sampling ahead") as progress:
        for order, grader, seed, changes in planned:
            folder = output / f"{order.replace(' ', '_')}-{grader}-{seed}"
            if not flags["draw"]:
                _call(folder, changes)
            results.append({"order": order, "grader": grader, "seed": seed, **_read(Workdir(folder))})
            progress.advance(1)
    write_atomic(output / "results.json", json.dumps(results, indent=2) + "\n")
    draw(results, output / "sampling_ahead.png")
    show(results)


def _call(folder: Path, changes: Mapping[str, str]) -> None:
    flags = [f"--config.{key}={value}" for key, value in changes.items()]
    call(["rl_reason.train", f"--config={CONFIG}", f"--workdir={folder}", *flags], folder, folder.with_suffix(".log"))


def _read(workdir: Workdir) -> dict:
    """The times of a run's steps and of their phases (medians of those that count), its staleness, its evaluations."""
    metrics = [record for record in read_jsonl(workdir.metrics) if record]
    if not metrics:
        raise RunError(f"{workdir.path}: no steps; run this command without --draw")
    evaluated = list(read_jsonl(workdir.eval)) if workdir.eval.exists() else []
    # Nothing is sampled ahead in the last step.
    counted = [record for record in metrics if record["step"] >= SETTLED][:-1]
    stale = [record for record in metrics if record.get("staleness/steps")]
    return {
        "seconds": [record["time/step_s"] for record in metrics],
        "step_s": median(record["time/step_s"] for record in counted),
        "phases_s": {phase: median(record[f"time/{phase}_s"] for record in counted) for phase in PHASES},
        "staleness": {
            name: [record[name] for record in stale]
            for name in ("staleness/difference/mean", "staleness/difference/max", "ratio/correction_limited")
        },
        "steps": [record["step"] for record in evaluated],
        "pass@1": [record["pass@1"] for record in evaluated],
        "after": evaluated[-1] if evaluated else None,
    }


def of(results: Sequence[dict], order: str, grader: str = "rules") -> list[dict]:
    return [run for run in results if run["order"] == order and run["grader"] == grader]


def show(results: Sequence[dict]) -> None:
    """Accuracy over seeds, paired differences, and where the time of a step goes."""
    rows = []
    for order in ORDERS:
        runs = of(results, order)
        rows.append([order, *(_with_interval([run["after"][key] for run in runs]) for key in ("pass@1", "pass@8"))])
        stale = [values for run in runs for values in run["staleness"]["staleness/difference/mean"]]
        limited = [values for run in runs for values in run["staleness"]["ratio/correction_limited"]]
        rows[-1] += [f"{mean(stale):.4f}", f"{100 * mean(limited):.2f}%"] if stale else ["", ""]
    seeds = len(of(results, "ahead"))
    title = f"mean over {seeds} seeds ± 95% interval"
    columns = ["sampling", "held-out pass@1, %", "pass@8, %", "staleness, nats a token", "weights at the limit"]
    table(title, columns, rows)
    pairs = zip(of(results, "in turn"), of(results, "ahead"), strict=True)
    print(f"pass@1, ahead − in turn: {_with_interval([b['after']['pass@1'] - a['after']['pass@1'] for a, b in pairs])}")
    times = []
    for grader in ("rules", "waiting"):
        for order in ORDERS:
            timed = of(results, order, grader)[0]
            phases = [f"{timed['phases_s'][phase]:.2f}" for phase in PHASES]
            times.append([grader, order, f"{timed['step_s']:.2f}", *phases])
    table("seconds of a step of seed 0, median", ["grader", "sampling", "a step, s", *PHASES], times)


def _with_interval(values: Sequence[float]) -> str:
    middle, width = interval(values)
    return f"{100 * middle:.1f}" + ("" if np.isnan(width) else f" ± {100 * width:.1f}")


def draw(results: Sequence[dict], file: Path) -> None:
    """Left: pass@1 over steps, each seed. Right: seconds of a step by its phases."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for color, order in zip(COLORS, ORDERS, strict=False):
        for i, run in enumerate(of(results, order)):
            label = f"sampled {order}" if i == 0 else None
            left.plot(run["steps"], 100 * np.array(run["pass@1"]), color=color, marker="o", markersize=3, label=label)
    left.set(xlabel="step", ylabel="held-out pass@1, %", ylim=(0, 100))
    left.legend()
    bars = [(grader, order) for grader in ("rules", "waiting") for order in ORDERS]
    start = np.zeros(len(bars))
    for color, phase in zip(COLORS, PHASES, strict=False):
        heights = np.array([of(results, order, grader)[0]["phases_s"][phase] for grader, order in bars])
        right.bar(range(len(bars)), heights, bottom=start, color=color, label=phase)
        start += heights
    right.set_xticks(range(len(bars)), [f"{order}\n{grader}" for grader, order in bars])
    right.set(ylabel="seconds of a step, median of each phase")
    right.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    run_command(main)
