"""The methods of DeepSeekMath's table 10 on the laptop task: the same start, the same number of samples, several seeds.

    python -m experiments.methods.run --seeds=3 --output=runs/methods

Each run is a command of its own in a folder of its own; the same command again goes on where it stopped. Writes
OUTPUT/results.json, OUTPUT/methods.png and prints the tables.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.commands import call
from rl_reason.errors import RunError, UsageError, run_command
from rl_reason.runtime.curves import COLORS
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.progress import Progress, table
from rl_reason.runtime.workdir import Workdir, write_atomic

STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""97.5% quantile of Student's t for the mean of so many seeds."""
SAMPLES = 3200
"""Completions that a run draws from the policy: 25 steps of 128."""


@dataclass(frozen=True)
class Run:
    """A config and what is changed in it."""

    config: str
    changes: dict[str, str] = field(default_factory=dict)
    label: str = ""
    draws: int = 0
    """Completions that a step draws; 0: all are drawn before the first step."""


NUMBER = {"reward.names": "('marked_number',)", "reward.weights": "(1.0,)"}
RUNS = {
    "rft": Run("configs/rft_math.py:tiny", {"data.problems": str(SAMPLES // 8), "collect.samples": "8"}, "RFT"),
    "online_rft": Run("configs/online_rft_math.py:tiny", {}, "Online RFT", 128),
    "grpo": Run("configs/grpo_math.py:tiny", NUMBER, "GRPO", 128),
    "grpo_process": Run(
        "configs/grpo_process_math.py:tiny",
        {"reward.names": "('marked_number',)", "reward.weights": "(0.0,)"},
        "GRPO, process supervision",
        128,
    ),
    "ppo": Run("configs/ppo_math.py:tiny", NUMBER, "PPO, λ = 1", 128),
    "iterative": Run("configs/iterative_grpo_math.py:tiny", {}, "iterative GRPO", 128),
}
ORDER = ("rft", "online_rft", "grpo", "grpo_process")
"""The paper's, from the least to the best (figure 5)."""

FLAGS: Spec = {
    "seeds": (int, 3, "seeds 0, 1, … are run"),
    "methods": (str, ",".join(RUNS), "which ones"),
    "output": (str, "runs/methods", "a folder for each run, results.json and methods.png"),
    "draw": (bool, False, "run nothing; read the runs that are there"),
}


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    names, output = flags["methods"].split(","), Path(flags["output"])
    for name in names:
        if name not in RUNS:
            raise UsageError(f"--methods={name}: expected some of {','.join(RUNS)}")
    if flags["seeds"] < 1:
        raise UsageError(f"--seeds={flags['seeds']}: expected at least 1")
    output.mkdir(parents=True, exist_ok=True)
    planned = [(name, seed) for seed in range(flags["seeds"]) for name in names]
    results: dict[str, list[dict]] = {name: [] for name in names}
    with Progress(len(planned), title="methods") as progress:
        for name, seed in planned:
            folder = output / f"{name}-{seed}"
            if not flags["draw"]:
                _call(RUNS[name].config, folder, {**RUNS[name].changes, "seed": str(seed)})
            results[name].append(_read(RUNS[name], folder, seed))
            progress.advance(1)
    write_atomic(output / "results.json", json.dumps(results, indent=2) + "\n")
    draw(results, output / "methods.png")
    show(results)


def _call(config: str, folder: Path, changes: dict[str, str]) -> None:
    flags = [f"--config.{key}={value}" for key, value in changes.items()]
    call(["rl_reason.train", f"--config={config}", f"--workdir={folder}", *flags], folder, folder.with_suffix(".log"))


def _read(run: Run, folder: Path, seed: int) -> dict:
    """The evaluations of a run: completions drawn until then, pass@1, and all of the last record."""
    records = list(read_jsonl(Workdir(folder).eval))
    if not records:
        raise RunError(f"{folder}: no evaluations; run this command without --draw")
    drawn = [record["step"] * run.draws if run.draws else (SAMPLES if record["step"] else 0) for record in records]
    return {
        "seed": seed,
        "samples": drawn,
        "pass@1": [record["pass@1"] for record in records],
        "before": records[0],
        "after": records[-1],
    }


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Half the width of the 95% interval beside the mean, over seeds (Student's t); NaN for one value."""
    n = len(values)
    return mean(values), STUDENT.get(n, 1.96) * stdev(values) / math.sqrt(n) if n > 1 else math.nan


def show(results: dict[str, list[dict]]) -> None:
    """The table of methods, and the differences between neighbours in the paper's order, paired by seed."""
    rows = []
    for name, runs in results.items():
        cells = [_with_interval([run["after"][key] for run in runs]) for key in ("pass@1", "pass@8", "maj@8")]
        rows.append([RUNS[name].label, _with_interval([run["before"]["pass@1"] for run in runs]), *cells])
    title = f"held-out problems, mean over {len(next(iter(results.values())))} seeds ± 95% interval"
    table(title, ["method", "pass@1 before", "pass@1", "pass@8", "maj@8"], rows)
    pairs = [(a, b) for a, b in zip(ORDER, ORDER[1:], strict=False) if a in results and b in results]
    pairs += [("grpo", "ppo")] if "grpo" in results and "ppo" in results else []
    compared = []
    for worse, better in pairs:
        gains = [
            b["after"]["pass@1"] - a["after"]["pass@1"] for a, b in zip(results[worse], results[better], strict=True)
        ]
        middle, width = interval(gains)
        difference = f"{100 * middle:+.1f} ± {100 * width:.1f}"
        compared.append([f"{RUNS[better].label} − {RUNS[worse].label}", difference, verdict(middle, width)])
    if "iterative" in results:
        # The second iteration begins in the middle of a run.
        middle, width = interval([r["pass@1"][-1] - r["pass@1"][len(r["pass@1"]) // 2] for r in results["iterative"]])
        difference = f"{100 * middle:+.1f} ± {100 * width:.1f}"
        compared.append(["iterative GRPO, second iteration − first", difference, verdict(middle, width)])
    if compared:
        table("pass@1, points, paired by seed", ["", "difference", "the later one has"], compared)


def verdict(middle: float, width: float) -> str:
    """What a difference says with its interval."""
    return "as one" if math.isnan(width) or abs(middle) <= width else "more" if middle > 0 else "less"


def _with_interval(values: Sequence[float]) -> str:
    middle, width = interval(values)
    return f"{100 * middle:.1f}" + ("" if math.isnan(width) else f" ± {100 * width:.1f}")


def draw(results: dict[str, list[dict]], file: Path) -> None:
    """pass@1 against the completions that were drawn: each seed, and their mean; of what has one point only, the mean
    with the interval of `show`."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for i, (name, runs) in enumerate(results.items()):
        color, x = COLORS[i % len(COLORS)], runs[0]["samples"]
        means = np.mean([run["pass@1"] for run in runs], axis=0)
        if RUNS[name].draws:
            for run in runs:
                axes.plot(x, 100 * np.array(run["pass@1"]), color=color, alpha=0.25, linewidth=1)
            axes.plot(x, 100 * means, color=color, linewidth=2, label=RUNS[name].label)
        else:  # All is drawn before the first step.
            middle, width = interval([100 * run["pass@1"][-1] for run in runs])
            label = f"{RUNS[name].label}, all drawn before (whisker: 95% interval of the mean)"
            axes.errorbar(x[-1], middle, width, color=color, marker="o", capsize=4, linestyle="none", label=label)
    axes.set_title("Thin lines: seeds; thick lines: their mean", loc="left", fontsize=10)
    axes.set_xlabel("completions drawn from the policy")
    axes.set_ylabel("held-out pass@1, %")
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    run_command(main)
