"""Runs that are made to fail, each beside the one that does not: what `docs/diagnostics.md` shows.

    python -m experiments.diagnostics.run --output=runs/diagnostics

Each run is a command of its own in a folder of its own; the same command again goes on where it stopped. Writes
OUTPUT/results.json, a picture for each failure, and prints its table.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rl_reason.errors import PREEMPTED, Preempted, RunError, run_command
from rl_reason.runtime.curves import COLORS
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.progress import Progress, table
from rl_reason.runtime.workdir import Workdir, write_atomic

CONFIG = "configs/grpo_math.py:tiny"
COMMON = {"steps": "10", "data.problems": "2000", "evaluation.samples": "0", "evaluation.every": "0"}
"""Of all runs: no problem is asked twice, so `pass@1/train` is of problems that the policy has not seen."""
HEALTHY = "healthy"


@dataclass(frozen=True)
class Failure:
    """What is changed in the healthy run, and where that is seen."""

    changes: dict[str, str]
    metrics: dict[str, str] = field(default_factory=dict)
    """Those that tell, in the order of the panels → what is written over each."""
    log: tuple[str, ...] = ()
    """Those of them that need a logarithmic axis."""
    stops: bool = False
    """Whether the run is to end by itself, with exit status 1."""


FAILURES = {
    "divergence": Failure(
        {"algorithm.learning_rate": "5e-3"},
        {
            "reward/mean": "reward",
            "kl/reference": "KL to the reference, nats a token",
            "entropy": "entropy, nats",
            "optimizer/grad_norm": "norm of the gradient",
        },
        log=("kl/reference", "entropy"),
    ),
    "too_short": Failure(
        {"sampling.max_length": "16"},
        {
            "reward/format": "right format",
            "pass@1/train": "right completions",
            "tokens/completion": "tokens a completion",
            "groups/equal_rewards": "groups of equal rewards",
        },
    ),
    "collapse": Failure(
        {"sampling.temperature": "0.1"},
        {
            "entropy": "entropy, nats",
            "groups/equal_rewards": "groups of equal rewards",
            "pass@1/train": "right completions",
            "optimizer/grad_norm": "norm of the gradient",
        },
        log=("entropy",),
    ),
    "no_reward": Failure(
        {"reward.names": "('boxed_exact',)", "reward.weights": "(1.0,)"},
        {
            "reward/mean": "reward",
            "verdict/unparseable": "unparseable, of 128",
            "groups/equal_rewards": "groups of equal rewards",
            "optimizer/grad_norm": "norm of the gradient",
        },
    ),
    "length": Failure(
        {
            "reward.names": "('marked_number','format','experiments.diagnostics.rewards:long')",
            "reward.weights": "(1.0,0.1,10.0)",
            "sampling.temperature": "1.5",
            "algorithm.learning_rate": "1e-3",
            "steps": "20",
        },
        {
            "reward/mean": "reward",
            "pass@1/train": "right completions",
            "tokens/completion": "tokens a completion",
            "truncated": "completions cut off",
        },
    ),
    "stale": Failure(
        {
            "sampling.ahead": "1",
            "algorithm.correction": "token_truncate",
            "algorithm.minibatches": "4",
            "algorithm.learning_rate": "2e-3",
        },
        {
            "pass@1/train": "right completions",
            "staleness/difference/mean": "sampler − trainer, nats a token",
            "ratio/correction_limited": "weights at their limit",
            "ratio/clipped": "tokens that are clipped",
        },
    ),
    "bfloat16": Failure(
        {"model.dtype": "bfloat16", "steps": "4"},
        {
            "pass@1/train": "right completions",
            "logprob_difference/mean": "sampler − trainer, nats a token",
            "logprob_difference/max": "of the token furthest apart",
        },
        log=("logprob_difference/mean", "logprob_difference/max"),
    ),
    "not_finite": Failure({"algorithm.learning_rate": "1e30"}, stops=True),
}

FLAGS: Spec = {
    "output": (str, "runs/diagnostics", "a folder for each run, results.json and the pictures"),
    "draw": (bool, False, "run nothing; read the runs that are there"),
}


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    output = Path(flags["output"])
    output.mkdir(parents=True, exist_ok=True)
    planned = {HEALTHY: Failure({}), **FAILURES}
    results = {}
    with Progress(len(planned), title="diagnostics") as progress:
        for name, failure in planned.items():
            folder = output / name
            if not flags["draw"]:
                call(folder, failure)
            results[name] = read(folder, failure)
            progress.advance(1)
    write_atomic(output / "results.json", json.dumps(results, indent=1) + "\n")
    for name, failure in FAILURES.items():
        if failure.metrics:
            draw(results, name, output / f"{name}.png")
            table(name, *rows(results, name))
    print(results["not_finite"]["said"])


def call(folder: Path, failure: Failure) -> None:
    """Trains, or what is left of it; a run that is to stop by itself does so once."""
    log = folder.with_suffix(".log")
    if failure.stops and list(folder.glob("nonfinite_batch_*.npz")):
        return
    flags = [f"--config.{key}={value}" for key, value in (COMMON | failure.changes).items()]
    command = [sys.executable, "-m", "rl_reason.train", f"--config={CONFIG}", f"--workdir={folder}", *flags]
    with log.open("w") as file:
        status = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode
    if status == PREEMPTED:
        raise Preempted("stopped by SIGTERM; the same command goes on where it stopped")
    if status != int(failure.stops):
        raise RunError(f"{folder} ended with exit status {status}; {log} says why")


def read(folder: Path, failure: Failure) -> dict:
    """What is drawn of a run: metric → its values by step, null where a step has none. And its last line, where it
    stopped by itself."""
    if failure.stops:
        return {"changes": failure.changes, "said": folder.with_suffix(".log").read_text().split("\n")[-2]}
    steps = int((COMMON | failure.changes)["steps"])
    records = [record for record in read_jsonl(Workdir(folder).metrics) if record["step"] <= steps]
    if not records:
        raise RunError(f"{folder}: no steps; run this command without --draw")
    names = sorted({name for one in FAILURES.values() for name in one.metrics})
    return {
        "changes": failure.changes,
        "step": [record["step"] for record in records],
        **{name: [record.get(name) for record in records] for name in names if any(name in r for r in records)},
    }


def rows(results: Mapping[str, dict], name: str) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of a table: each metric in the first, the middle and the last step of either run."""
    runs = {run: results[run] for run in (HEALTHY, name)}
    made = [[f"`{metric}`", *(_course(run, metric) for run in runs.values())] for metric in FAILURES[name].metrics]
    return ["metric", *(run.replace("_", " ") for run in runs)], made


def markdown(results: Mapping[str, dict], name: str) -> str:
    """The same as it stands in the documents."""
    heads, made = rows(results, name)
    lines = [heads, ["---"] * len(heads), *made]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _course(run: Mapping, metric: str) -> str:
    """Three values of a metric, of steps that have it; "–" for a run that does not."""
    values = [value for value in run.get(metric, []) if value is not None]
    shown = [values[0], values[(len(values) - 1) // 2], values[-1]] if values else []
    return " → ".join(f"{value:.3g}" for value in shown) or "–"


def draw(results: Mapping[str, dict], name: str, file: Path) -> None:
    """A panel for each metric: the healthy run, and the one that fails."""
    failure = FAILURES[name]
    columns = 2 if len(failure.metrics) == 4 else 3
    panels = len(failure.metrics)
    figure = Figure(figsize=(9, 0.4 + 2.3 * (panels // columns)), layout="constrained")
    FigureCanvasAgg(figure)
    for panel, (metric, title) in enumerate(failure.metrics.items(), 1):
        axes = figure.add_subplot(panels // columns, columns, panel)
        is_log = metric in failure.log
        for run, color in ((HEALTHY, COLORS[0]), (name, COLORS[1])):
            of = results[run]
            points = zip(of["step"], of.get(metric, []), strict=False)
            known = [(step, value) for step, value in points if value is not None and (value > 0 or not is_log)]
            if known:
                axes.plot(*zip(*known, strict=True), color=color, marker=".", label=run.replace("_", " "))
        axes.set_title(title, fontsize=10)
        axes.set_yscale("log" if is_log else "linear")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(file, dpi=110)


if __name__ == "__main__":
    run_command(main)
