"""The laptop run of GRPO on several seeds, and the table of what it gained.

    python -m experiments.grpo_tiny.run --seeds=3 --output=runs/grpo_tiny

Each seed is the command of `make demo` with another `config.seed`, in a folder of its own; the same command again goes
on where it stopped. Writes OUTPUT/results.json, OUTPUT/grpo_tiny.png and prints the table.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.pipelines import train
from rl_reason.errors import UsageError, run_command
from rl_reason.runtime.curves import COLORS
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.progress import table
from rl_reason.runtime.workdir import Workdir, write_atomic

FLAGS: Spec = {
    "seeds": (int, 3, "seeds 0, 1, … are run"),
    "output": (str, "runs/grpo_tiny", "a folder for each seed, results.json and grpo_tiny.png"),
    "config": (str, "configs/grpo_math.py:tiny", "the experiment"),
    "draw": (bool, False, "run nothing; read the results that are there"),
}
SHARES = ("pass@1", "pass@8", "maj@8", "format")
SIZES = (1, 2, 4, 8)
"""Samples of a problem."""


def run_seed(config: str, seed: int, folder: Path) -> dict:
    """Trains one seed; its first and last evaluation, and the seconds that this call took."""
    began = time.monotonic()
    train(config, seed, folder)
    records = list(read_jsonl(Workdir(folder).eval))
    return {"seed": seed, "seconds": time.monotonic() - began, "before": records[0], "after": records[-1]}


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    output = Path(flags["output"])
    kept = output / "results.json"
    if not flags["draw"]:
        results = [run_seed(flags["config"], seed, output / f"seed{seed}") for seed in range(flags["seeds"])]
        write_atomic(kept, json.dumps(results, indent=2) + "\n")
    elif kept.is_file():
        results = json.loads(kept.read_text())
    else:
        raise UsageError(f"--draw: {kept} is not there; expected the results of a run with --output={output}")
    draw(results, output / "grpo_tiny.png")
    show(results)


def show(results: Sequence[Mapping]) -> None:
    rows = []
    for result in results:
        ends = result["before"], result["after"]
        told = [" → ".join(f"{100 * one[name]:.1f}%{_interval(one, name)}" for one in ends) for name in SHARES]
        rows.append([result["seed"], *told, " → ".join(f"{one['tokens/completion']:.1f}" for one in ends)])
    columns = ["seed", "pass@1 [95% interval]", *SHARES[1:], "tokens of a completion"]
    table("held-out problems, before → after", columns, rows)


def _interval(record: Mapping, name: str) -> str:
    low, high = record["pass@1_ci95"]
    return f" [{100 * low:.1f}, {100 * high:.1f}]" if name == "pass@1" else ""


def draw(results: Sequence[Mapping], file: Path) -> None:
    """Pass@K and Maj@K before and after, as figure 7 of DeepSeekMath: each seed, and the mean."""
    figure = Figure(figsize=(8.5, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for when, color in (("before", COLORS[0]), ("after", COLORS[1])):
        for measure, style in (("pass", "-"), ("maj", "--")):
            # The majority of one sample is that sample.
            names = [f"{measure}@{size}" if size > 1 else "pass@1" for size in SIZES]
            values = 100 * np.array([[result[when][name] for name in names] for result in results])
            axes.plot(SIZES, values.T, color=color, alpha=0.3, linewidth=1, linestyle=style)
            label = f"{measure}@K {when} RL"
            axes.plot(SIZES, values.mean(axis=0), "o", color=color, linewidth=2, linestyle=style, label=label)
    axes.set(xlabel="K, samples of a problem", ylabel="problems solved, %", xscale="log", ylim=(0, 102))
    axes.set_xticks(SIZES, [str(size) for size in SIZES])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center", frameon=False)
    figure.savefig(file, dpi=130)


if __name__ == "__main__":
    run_command(main)
