"""Minerva on the laptop, on several seeds: what continued pretraining gives to few-shot answers and their majority.

    python -m experiments.minerva.run --seeds=3 --output=runs/minerva

Each arm of each seed is `configs/minerva.py:tiny` in a folder of its own; the same command again goes on where it
stopped. Writes OUTPUT/results.json, OUTPUT/minerva.png and prints the tables.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.methods.run import interval
from experiments.pipelines import over_seeds, train
from rl_reason.errors import run_command
from rl_reason.runtime.curves import COLORS
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.progress import table
from rl_reason.runtime.workdir import Workdir, write_atomic

FLAGS: Spec = {
    "seeds": (int, 3, "how many are run"),
    "first_seed": (int, 3, "the first of them; the settings were chosen on those before"),
    "output": (str, "runs/minerva", "a folder for each run, results.json and minerva.png"),
    "draw": (bool, False, "run nothing; read the runs that are there"),
}
CONFIG = "configs/minerva.py:tiny"
MIXTURE = "mixture"


def alone(source: str) -> str:
    """`config.documents.sources` of one source."""
    return f"(('{source}', 1.0),)"


ARMS: dict[str, tuple[str, tuple[str, ...]]] = {
    MIXTURE: ("exercises and remarks", ()),
    "general": ("remarks alone", (f"--config.documents.sources={alone('remarks')}",)),
}
"""Name → label, and what is changed in the config."""
ANSWERS = {
    "greedy": "greedy, %",
    "pass@1": "one sample, %",
    "maj@4": "majority of 4, %",
    "maj@16": "majority of 16, %",
}
SOURCES = ("exercises", "remarks")


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    output = Path(flags["output"])
    seeds = range(flags["first_seed"], flags["first_seed"] + flags["seeds"])
    results: dict[str, list[dict]] = {}
    for name, (_, changes) in ARMS.items():
        for seed in seeds:
            folder = output / f"seed{seed}_{name}"
            if not flags["draw"]:
                train(CONFIG, seed, folder, changes)
            results.setdefault(name, []).append(read(folder))
    write_atomic(output / "results.json", json.dumps(results, indent=1) + "\n")
    draw(results, output / "minerva.png")
    show(results)


def read(folder: Path) -> dict:
    """The evaluations of a run: of the problems, and of each source."""
    records = list(read_jsonl(Workdir(folder).eval))
    keep = (*ANSWERS, *(f"{name}_ci95" for name in ANSWERS), "tokens/completion")
    of_sources = {
        name: [{"step": r["step"], "perplexity": r["perplexity"]} for r in records if r["dataset"] == name]
        for name in SOURCES
    }
    answered = [{"step": r["step"], **{k: r[k] for k in keep if k in r}} for r in records if "pass@1" in r]
    return {"answers": answered, "perplexity": of_sources}


def show(results: Mapping[str, Sequence[dict]]) -> None:
    rows = [["before", *_cells(results[MIXTURE], 0)]]
    rows += [[ARMS[name][0], *_cells(runs, -1)] for name, runs in results.items()]
    seeds = len(results[MIXTURE])
    columns = ["learned from", *ANSWERS.values(), *(f"perplexity of {name}" for name in SOURCES)]
    table(f"few-shot answers, and held-out documents, mean of {seeds} seeds ± 95% interval", columns, rows)
    gains = [run["answers"][-1]["maj@16"] - run["answers"][-1]["greedy"] for run in results[MIXTURE]]
    print(f"majority of 16 less greedy, {ARMS[MIXTURE][0]}: {over_seeds(gains, 100)} points")


def _cells(runs: Sequence[Mapping], place: int) -> list[str]:
    """Of one evaluation of each run, the first or the last."""
    answers = [over_seeds([run["answers"][place][name] for run in runs], 100) for name in ANSWERS]
    of_sources = [[run["perplexity"][name][place]["perplexity"] for run in runs] for name in SOURCES]
    return [*answers, *(_perplexity(*interval(values)) for values in of_sources)]


def _perplexity(middle: float, width: float) -> str:
    """Between 1 and all that there is: in hundredths only where it is near 1."""
    digits = 2 if middle < 100 else 0
    return f"{middle:.{digits}f}" + ("" if math.isnan(width) else f" ± {width:.{digits}f}")


def draw(results: Mapping[str, Sequence[dict]], file: Path) -> None:
    """Few-shot answers, and perplexity by source, over the steps: each seed, and the mean."""
    figure = Figure(figsize=(9, 8.4), layout="constrained")
    FigureCanvasAgg(figure)
    answers, perplexity = figure.subplots(2, 1)
    for (name, runs), color in zip(results.items(), COLORS, strict=False):
        for measure, style in (("greedy", "--"), ("maj@16", "o")):
            # Evaluations on the way have fewer samples: no line, which would tell of what lies between.
            series = [[(one["step"], 100 * one[measure]) for one in run["answers"] if measure in one] for run in runs]
            _lines(answers, series, f"{ARMS[name][0]}, {measure}", color, style)
        for source, style in zip(SOURCES, ("-", ":"), strict=True):
            series = [[(one["step"], one["perplexity"]) for one in run["perplexity"][source]] for run in runs]
            _lines(perplexity, series, f"{source}; learned from {ARMS[name][0]}", color, style)
    answers.set(title="Problems behind four worked examples", xlabel="steps", ylabel="right, %", ylim=(0, 100))
    perplexity.set(title="Held-out documents", xlabel="steps", ylabel="perplexity", yscale="log")
    for axes in (answers, perplexity):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(file, dpi=130)


def _lines(axes, series: Sequence[Sequence[tuple[int, float]]], label: str, color: str, style: str) -> None:
    values = np.array(series, np.float64)
    for of_seed in values:
        axes.plot(of_seed[:, 0], of_seed[:, 1], style, color=color, alpha=0.25, linewidth=0.8, markersize=3)
    mean = values.mean(axis=0)
    axes.plot(mean[:, 0], mean[:, 1], style, color=color, linewidth=2, label=label)


if __name__ == "__main__":
    run_command(main)
