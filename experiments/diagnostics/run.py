"""Runs that are made to fail, each beside a control that differs in the thing that is blamed: what
`docs/diagnostics.md` shows.

    python -m experiments.diagnostics.run --seeds=3 --output=runs/diagnostics

Each run is a command of its own in a folder of its own; the same command again goes on where it stopped. Writes
OUTPUT/results.json, a picture of each failure, and prints its table.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rl_reason.errors import PREEMPTED, Preempted, RunError, UsageError, run_command
from rl_reason.runtime.curves import COLORS
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.progress import Progress, table
from rl_reason.runtime.workdir import Workdir, write_atomic

CONFIG = "configs/grpo_math.py:tiny"
COMMON = {"steps": "12", "data.problems": "2000", "evaluation.samples": "0", "evaluation.every": "0"}
"""Of all runs: no problem is asked twice, so `pass@1/train` is of problems that the policy has not seen."""
HEALTHY = "healthy"
LAST = 3
"""Steps whose mean is how a run ends."""


@dataclass(frozen=True)
class Run:
    """A command."""

    changes: dict[str, str] = field(default_factory=dict)
    """In the config, beside `COMMON`."""
    fault: str = ""
    """One of `faulty.FAULTS`, which takes the place of `rl_reason.train`."""
    stops: bool = False
    """Whether it is to end by itself, with exit status 1; once, of the first seed."""

    @property
    def flags(self) -> dict[str, str]:
        return COMMON | self.changes


@dataclass(frozen=True)
class Failure:
    """What is seen of a run beside its control."""

    control: str
    metrics: dict[str, str]
    """Those that tell, in the order of the panels → what is written over each."""
    log: tuple[str, ...] = ()
    """Those of them that need a logarithmic axis."""


FAST = {"algorithm.learning_rate": "5e-4", "steps": "30"}
HOT = {
    "algorithm.learning_rate": "5e-4",
    "algorithm.kl_coef": "0",
    "sampling.temperature": "1.5",
    "steps": "40",
}
LENGTH = {
    "reward.names": "('marked_number','format','experiments.diagnostics.rewards:long')",
    "reward.weights": "(1.0,0.1,10.0)",
}
BOTH_PAID = {
    "algorithm.learning_rate": "5e-4",
    "algorithm.kl_coef": "0",
    "reward.weights": "(1.0,1.0)",
    "steps": "16",
}
RUNS = {
    HEALTHY: Run(),
    "divergence": Run({"algorithm.learning_rate": "5e-3"}),
    "too_short": Run({"sampling.max_length": "16"}),
    "no_reward": Run({"reward.names": "('boxed_exact',)", "reward.weights": "(1.0,)"}),
    "positions": Run(fault="positions"),
    "float8": Run(fault="float8"),
    "bfloat16": Run({"model.dtype": "bfloat16"}),
    "fast": Run(FAST),
    "late": Run(FAST, fault="late"),
    "hot": Run(HOT),
    "length": Run(HOT | LENGTH),
    "compared": Run(BOTH_PAID),
    "collapse": Run(BOTH_PAID | {"algorithm.advantage": "reward"}),
    "not_finite": Run({"algorithm.learning_rate": "1e30"}, stops=True),
}
RIGHT, ANY_RIGHT = {"pass@1/train": "right completions"}, {"pass@8/train": "groups with a right one"}
APART = {"logprob_difference/mean": "sampler − trainer, nats a token"}
EQUAL = {"groups/equal_rewards": "groups of equal rewards"}
FAILURES = {
    "divergence": Failure(
        HEALTHY,
        {
            "reward/mean": "reward",
            "kl/reference": "KL to the reference, nats a token",
            "entropy": "entropy, nats",
            "optimizer/grad_norm": "norm of the gradient",
        },
        log=("kl/reference", "entropy"),
    ),
    "too_short": Failure(
        HEALTHY, {"reward/format": "right format"} | RIGHT | {"tokens/completion": "tokens a completion"} | EQUAL
    ),
    "collapse": Failure("compared", RIGHT | ANY_RIGHT | EQUAL | {"entropy": "entropy, nats"}, log=("entropy",)),
    "no_reward": Failure(
        HEALTHY,
        {"reward/mean": "reward", "verdict/unparseable": "unparseable, of 128"}
        | EQUAL
        | {"optimizer/grad_norm": "norm of the gradient"},
    ),
    "length": Failure(
        "hot",
        {"reward/mean": "reward"}
        | RIGHT
        | {"tokens/completion": "tokens a completion", "truncated": "completions cut off"},
    ),
    "late": Failure(
        "fast",
        RIGHT | APART | {"kl/reference": "KL to the reference, nats a token", "entropy": "entropy, nats"},
        log=("logprob_difference/mean", "kl/reference", "entropy"),
    ),
    "positions": Failure(
        HEALTHY, RIGHT | APART | {"logprob_difference/ratio": "mean ratio of probabilities"},
        log=("logprob_difference/mean",),
    ),
    "float8": Failure(HEALTHY, RIGHT | APART, log=("logprob_difference/mean",)),
    "bfloat16": Failure(HEALTHY, RIGHT | APART, log=("logprob_difference/mean",)),
}

FLAGS: Spec = {
    "seeds": (int, 3, "how many are run"),
    "first_seed": (int, 1, "the first of them; the settings were chosen on seed 0"),
    "output": (str, "runs/diagnostics", "a folder for each seed, results.json and the pictures"),
    "draw": (bool, False, "run nothing; read the runs that are there"),
}


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    if flags["seeds"] < 1:
        raise UsageError(f"--seeds={flags['seeds']}: expected at least 1")
    output = Path(flags["output"])
    seeds = range(flags["first_seed"], flags["first_seed"] + flags["seeds"])
    planned = [(seed, name) for seed in seeds for name, run in RUNS.items() if not run.stops or seed == seeds[0]]
    with Progress(len(planned), title="diagnostics") as progress:
        for seed, name in planned:
            if not flags["draw"]:
                call(output / f"seed{seed}" / name, RUNS[name], seed)
            progress.advance(1)
    results = {"seeds": [*seeds], "runs": {name: read(output, name, seeds) for name in RUNS}}
    write_atomic(output / "results.json", json.dumps(results) + "\n")
    for name in FAILURES:
        draw(results, name, output / f"{name}.png")
        table(name, *rows(results, name))
    print(next(run["said"] for run in results["runs"].values() if "said" in run))


def call(folder: Path, run: Run, seed: int) -> None:
    """Trains, or what is left of it; a run that is to stop by itself does so once, one with a fault begins anew."""
    log = folder.with_suffix(".log")
    if run.stops and list(folder.glob("nonfinite_batch_*.npz")):
        return
    if run.fault and folder.exists():
        if len(_records(folder)) == int(run.flags["steps"]):
            return
        shutil.rmtree(folder)
    program = ["experiments.diagnostics.faulty", run.fault] if run.fault else ["rl_reason.train"]
    flags = [f"--config.{key}={value}" for key, value in (run.flags | {"seed": str(seed)}).items()]
    command = [sys.executable, "-m", *program, f"--config={CONFIG}", f"--workdir={folder}", *flags]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        status = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode
    if status == PREEMPTED:
        raise Preempted("stopped by SIGTERM; the same command goes on where it stopped")
    if status != int(run.stops):
        raise RunError(f"{folder} ended with exit status {status}; {log} says why")


def read(output: Path, name: str, seeds: Sequence[int]) -> dict:
    """What is kept of a run: metric → of each seed its values by step, null where a step has none. And its last line,
    where it stopped by itself."""
    run = RUNS[name]
    kept: dict = {"changes": run.changes} | ({"fault": run.fault} if run.fault else {})
    if run.stops:
        log = (output / f"seed{seeds[0]}" / name).with_suffix(".log")
        return kept | {"said": log.read_text().split("\n")[-2].replace(f"{output}/", "")}
    of_seeds = []
    for seed in seeds:
        folder = output / f"seed{seed}" / name
        records = _records(folder)
        if len(records) != int(run.flags["steps"]):
            raise RunError(f"{folder}: has {len(records)} steps, expected {run.flags['steps']}; run without --draw")
        of_seeds.append(records)
    metrics = {metric for one in FAILURES.values() for metric in one.metrics} | {*RIGHT, *ANY_RIGHT}
    values = {metric: [[_digits(step.get(metric)) for step in of] for of in of_seeds] for metric in sorted(metrics)}
    return kept | {"metrics": {metric: of for metric, of in values.items() if any(x is not None for x in of[0])}}


def _records(folder: Path) -> list[dict]:
    """By step; of a run that began none."""
    file = Workdir(folder).metrics
    return [*read_jsonl(file)] if file.exists() else []


def _digits(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def drawn(results: Mapping, name: str) -> dict[str, Mapping[str, list]]:
    """Of a failure's control and of itself: metric → values by seed and step."""
    return {run: results["runs"][run]["metrics"] for run in (FAILURES[name].control, name)}


def ends(results: Mapping, run: str, metric: str) -> list[float]:
    """How a run ends: of each seed the mean of its last steps."""
    return [float(np.mean(of[-LAST:])) for of in results["runs"][run]["metrics"][metric]]


def rows(results: Mapping, name: str) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of a table: each metric in the first step, in the middle one and at the end, means over seeds."""
    runs = drawn(results, name)
    made = [[f"`{metric}`", *(_course(results, run, metric) for run in runs)] for metric in FAILURES[name].metrics]
    return ["metric", *(run.replace("_", " ") for run in runs)], made


def markdown(results: Mapping, name: str) -> str:
    """The same as it stands in the documents."""
    heads, made = rows(results, name)
    lines = [heads, ["---"] * len(heads), *made]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _course(results: Mapping, run: str, metric: str) -> str:
    """Three values of a metric."""
    values = np.array(results["runs"][run]["metrics"][metric], float)
    by_step = values.mean(axis=0)
    shown = [by_step[0], by_step[(len(by_step) - 1) // 2], float(np.mean(ends(results, run, metric)))]
    return " → ".join(f"{value:.3g}" for value in shown)


def draw(results: Mapping, name: str, file: Path) -> None:
    """A panel for each metric: the control and the run that fails, the seeds thin and their mean thick."""
    failure = FAILURES[name]
    columns = 3 if len(failure.metrics) == 3 else 2
    lines = len(failure.metrics) // columns
    figure = Figure(figsize=(9, 0.4 + 2.3 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    for panel, (metric, title) in enumerate(failure.metrics.items(), 1):
        axes = figure.add_subplot(lines, columns, panel)
        is_log = metric in failure.log
        for (run, of), color in zip(drawn(results, name).items(), COLORS, strict=False):
            values = np.array(of[metric], float)
            # A logarithm has no 0, which a KL term begins with.
            values = np.where((values > 0) | (not is_log), values, np.nan)
            steps = np.arange(1, values.shape[1] + 1)
            axes.plot(steps, values.T, color=color, alpha=0.35, linewidth=0.8)
            axes.plot(steps, values.mean(axis=0), color=color, linewidth=2, label=run.replace("_", " "))
        axes.set_title(title, fontsize=10)
        axes.set_yscale("log" if is_log else "linear")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(file, dpi=110)


if __name__ == "__main__":
    run_command(main)
