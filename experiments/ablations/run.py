"""GRPO's settings one at a time on the laptop task: group size, β, ε, updates per exploration, the estimator of the KL,
the division by the group's deviation, and how the losses of tokens become one.

    python -m experiments.ablations.run --seeds=3 --output=runs/ablations

Runs that differ in seeds and numbers alone are computed together, `--together` at most (`experiments.sweep`). Each has
a folder of its own; the same command again goes on where it stopped. Writes OUTPUT/results.json, OUTPUT/sweep.csv and
OUTPUT/ablations.png, and prints the table.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments import sweep
from experiments.methods.run import interval
from experiments.pipelines import by_step, over_seeds
from rl_reason.errors import RunError, UsageError, run_command
from rl_reason.recipes.checks import reads
from rl_reason.runtime.config import load
from rl_reason.runtime.curves import COLORS
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.progress import table
from rl_reason.runtime.workdir import Workdir, write_atomic

CONFIG = "configs/grpo_math.py:tiny"
COMMON = (
    "--config.steps=12",
    "--config.data.problems=2000",
    "--config.evaluation.every=4",
    "--config.evaluation.problems=200",
    "--config.evaluation.samples=4",
    "--config.checkpoint.every=6",
)
"""Shorter than the config's runs: what differs is how soon is learned, not what is known in the end."""
LAST = 3
"""Steps at the end over which the metrics of training are averaged."""
OF_TRAINING = ("kl/reference", "ratio/clipped", "entropy", "tokens/wrong", "tokens/completion")


@dataclass(frozen=True)
class Arm:
    """A setting beside the one that it is compared with."""

    factor: str
    label: str
    changes: sweep.Point
    beside: str = "base"
    """The arm that differs in this factor alone."""


def _arm(factor: str, label: str, beside: str = "base", **changes: str) -> Arm:
    return Arm(factor, label, {f"algorithm.{key}": value for key, value in changes.items()}, beside)


def arms_around(group: int, completions: int) -> dict[str, Arm]:
    """Those of a config that has groups of `group` and so many completions a step; all else is as in
    `configs/grpo_math.py`. With one update the ratio is 1 and ε does nothing, so it is varied beside four; estimators
    are, where β matters."""
    return {
        "base": _arm("–", f"G {group}, β 0.04, ε 0.2, 1 update, k3", group_size=str(group)),
        "group4": _arm("group size", f"G 4, {completions // 4} questions", group_size="4"),
        "group16": _arm("group size", f"G 16, {completions // 16} questions", group_size="16"),
        "beta0": _arm("β", "β 0", kl_coef="0.0"),
        "beta0.2": _arm("β", "β 0.2", kl_coef="0.2"),
        "updates2": _arm("updates", "2 updates", updates="2"),
        "updates4": _arm("updates", "4 updates", updates="4"),
        "clip0.1": _arm("ε", "ε 0.1, 4 updates", "updates4", updates="4", clip_low="0.1", clip_high="0.1"),
        "clip0.4": _arm("ε", "ε 0.4, 4 updates", "updates4", updates="4", clip_low="0.4", clip_high="0.4"),
        "k1": _arm("KL estimator", "k1, β 0.2", "beta0.2", kl_coef="0.2", kl_estimator="k1"),
        "k2": _arm("KL estimator", "k2, β 0.2", "beta0.2", kl_coef="0.2", kl_estimator="k2"),
        "k3_weighted": _arm("KL estimator", "k3 weighted, β 0.2", "beta0.2", kl_coef="0.2", kl_estimator="k3_weighted"),
        "no_std": _arm("deviation", "not divided by", advantage="centered"),
        "sum": _arm("length", "sum over tokens", reduction="sequence_sum"),
        "token_mean": _arm("length", "mean over all tokens", reduction="token_mean"),
        "constant": _arm("length", "sum / greatest length", reduction="length_normalized"),
    }


ARMS = arms_around(8, 128)
"""Those of `CONFIG`."""

FLAGS: Spec = {
    "config": (str, CONFIG, "the experiment; another one is run as it stands, with its own number of steps"),
    "seeds": (int, 3, "seeds 0, 1, … are run"),
    "arms": (str, ",".join(ARMS), "which ones"),
    "together": (int, 9, "runs that are computed in one program, at most; 1: each by itself"),
    "output": (str, "runs/ablations", "a folder for each run, results.json, sweep.csv and ablations.png"),
    "draw": (bool, False, "run nothing; read the runs that are there"),
}


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    names = flags["arms"].split(",")
    for name in names:
        if name not in ARMS or ARMS[name].beside not in names:
            raise UsageError(f"--arms={flags['arms']}: expected some of {','.join(ARMS)}, with what each stands beside")
    for key in ("seeds", "together"):
        if flags[key] < 1:
            raise UsageError(f"--{key}={flags[key]}: expected at least 1")
    made = arms(flags["config"])
    points = [made[name].changes for name in names]
    output, common = Path(flags["output"]), COMMON if flags["config"] == CONFIG else ()
    asked = sweep.Sweep(flags["config"], points, common, flags["seeds"], output, flags["together"], flags["draw"])
    if not asked.draws:
        sweep.run(asked)
    results: dict[str, list[dict]] = {name: [] for name in names}
    for point, seed, folder in asked.runs():
        results[names[points.index(point)]].append(read(folder, seed))
    write_atomic(output / "sweep.csv", sweep.to_csv([row for run in asked.runs() for row in sweep.read(*run)]))
    write_atomic(output / "results.json", json.dumps(results, indent=2) + "\n")
    draw(results, made, output / "ablations.png")
    show(results, made)


def arms(config: str) -> dict[str, Arm]:
    algorithm = load([f"--config={config}"], reads=reads).settings.algorithm
    return arms_around(algorithm.group_size, algorithm.batch_size)


def read(folder: Path, seed: int) -> dict:
    """What a run has shown: the evaluations' pass@1 (of several data sets their mean), the mean of those behind the
    start, and its metrics at the end."""
    evaluations, metrics = by_step(folder), list(read_jsonl(Workdir(folder).metrics))
    if len(evaluations) < 2 or not metrics:
        raise RunError(f"{folder}: has not ended; run this command without --draw")
    of_training = {}
    for name in OF_TRAINING:
        values = [record[name] for record in metrics[-LAST:] if record.get(name) is not None]
        of_training[name] = mean(values) if values else None
    curve = [mean(record["pass@1"] for record in sets.values()) for sets in evaluations.values()]
    return {
        "seed": seed,
        "steps": [*evaluations],
        "curve": curve,
        "learning": mean(curve[1:]),
        "pass@1": curve[-1],
        **of_training,
    }


def differences(results: Mapping[str, Sequence[Mapping]], name: str, measure: str) -> list[float]:
    """Of an arm and what it stands beside, paired by seed."""
    pairs = zip(results[name], results[ARMS[name].beside], strict=True)
    return [one[measure] - other[measure] for one, other in pairs]


def show(results: Mapping[str, Sequence[Mapping]], arms: Mapping[str, Arm] = ARMS) -> None:
    rows = []
    for name, runs in results.items():
        column = lambda key, scale, runs=runs: over_seeds([run[key] for run in runs], scale)  # noqa: E731
        gained = over_seeds(differences(results, name, "learning"), 100) if name != arms[name].beside else "–"
        rows.append([
            arms[name].factor, arms[name].label, column("learning", 100), gained, column("pass@1", 100),
            column("kl/reference", 1000), column("ratio/clipped", 100), column("tokens/wrong", 1),
        ])  # fmt: skip
    columns = ["factor", "setting", "pass@1 while learning", "− beside", "pass@1 at the end", "KL · 1000"]
    columns += ["tokens clipped, %", "tokens of a wrong one"]
    title = f"mean over {len(next(iter(results.values())))} seeds ± 95% interval; differences paired by seed"
    table(title, columns, rows)


def draw(results: Mapping[str, Sequence[Mapping]], arms: Mapping[str, Arm], file: Path) -> None:
    """Of each arm how much more or less is learned than with what it stands beside: each seed, mean and interval."""
    names = [name for name in results if name != arms[name].beside]
    factors = list(dict.fromkeys(arms[name].factor for name in names))
    figure = Figure(figsize=(8, 1.2 + 0.4 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for row, name in enumerate(names):
        values = [100 * value for value in differences(results, name, "learning")]
        middle, width = interval(values)
        color = COLORS[factors.index(arms[name].factor) % len(COLORS)]
        axes.plot(values, [row] * len(values), "o", color=color, alpha=0.4, markersize=4)
        axes.errorbar(middle, row, xerr=0 if math.isnan(width) else width, fmt="D", color=color, capsize=4)
    axes.axvline(0, color="black", linewidth=1)
    axes.set_yticks(range(len(names)), [f"{arms[name].label}  −  {arms[arms[name].beside].label}" for name in names])
    axes.invert_yaxis()
    axes.set_xlabel("held-out pass@1 while learning, points, paired by seed")
    axes.grid(alpha=0.3, axis="x")
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    run_command(main)
