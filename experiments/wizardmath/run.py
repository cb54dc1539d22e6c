"""WizardMath's ablation on the laptop, on several seeds: problems evolved downward and upward, and either reward.

    python -m experiments.wizardmath.run --seeds=3 --output=runs/wizardmath

Each seed is the pipeline `configs/wizardmath.py:tiny` in a folder of its own; the same command again goes on where it
stopped. Writes OUTPUT/results.json, OUTPUT/wizardmath.png and prints the table.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.pipelines import by_step, over_seeds, train
from rl_reason.errors import run_command
from rl_reason.runtime.curves import COLORS
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.progress import table
from rl_reason.runtime.workdir import Workdir, write_atomic

FLAGS: Spec = {
    "seeds": (int, 3, "how many are run"),
    "first_seed": (int, 4, "the first of them; the settings were chosen on those before"),
    "output": (str, "runs/wizardmath", "a folder for each seed, results.json and wizardmath.png"),
    "draw": (bool, False, "run nothing; read the runs that are there"),
}
CONFIG = "configs/wizardmath.py:tiny"
STAGES = {
    "start": "shipped model",
    "tuned_original": "original problems",
    "tuned_downward": "… and evolved downward",
    "tuned_upward": "… and evolved upward",
    "product": "PPO, instruction × product of steps",
    "minimum": "PPO, instruction × least step",
}
HELD_OUT = {"word_problems": "as they were", "harder_word_problems": "harder"}
JUDGES = ("instruction_model", "process_model")


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    output = Path(flags["output"])
    seeds = range(flags["first_seed"], flags["first_seed"] + flags["seeds"])
    results = []
    for seed in seeds:
        if not flags["draw"]:
            train(CONFIG, seed, output / f"seed{seed}")
        results.append(read(output / f"seed{seed}"))
    write_atomic(output / "results.json", json.dumps(results, indent=1) + "\n")
    draw(results, output / "wizardmath.png")
    show(results)


def read(folder: Path) -> dict:
    """What a seed has shown: of each stage and set of problems pass@1, maj@4 and the tokens of a completion."""
    first, last = _evaluations(folder / "tuned_original")
    stages = {"start": first, "tuned_original": last}
    stages |= {name: _evaluations(folder / name)[1] for name in STAGES if name not in stages}
    # A judge's own set is the last line of its evaluations.
    judged = {name: list(read_jsonl(Workdir(folder / name).eval))[-1] for name in JUDGES}
    kept = {
        name: json.loads((folder / f"pool_{name}" / "cleaning.json").read_text()) for name in ("original", "upward")
    }
    return {
        "stages": stages,
        "judges": {name: {key: record[key] for key in ("accuracy", "auc")} for name, record in judged.items()},
        "cleaning": kept,
        "seconds": sum(stage["seconds"] for stage in json.loads((folder / "stages.json").read_text()).values()),
    }


def _evaluations(folder: Path) -> tuple[dict, dict]:
    """Of the first step and the last: set of problems → what was measured."""
    measures = ("pass@1", "pass@1_ci95", "maj@4", "tokens/completion")
    steps = by_step(folder)
    first, last = (
        {name: {key: record[key] for key in measures} for name, record in steps[step].items()}
        for step in (min(steps), max(steps))
    )
    return first, last


def show(results: Sequence[dict]) -> None:
    rows = []
    for stage, label in STAGES.items():
        of_seeds = [result["stages"][stage] for result in results]
        cells = [
            over_seeds([one[name][key] for one in of_seeds], 100) for key in ("pass@1", "maj@4") for name in HELD_OUT
        ]
        rows.append([label, *cells])
    heads = [f"{key}, {label}" for key in ("pass@1", "maj@4") for label in HELD_OUT.values()]
    title = f"{CONFIG}, held-out problems, %, mean of {len(results)} seeds ± 95% interval"
    table(title, ["learned from", *heads], rows)
    rows = []
    tuned = [name for name in STAGES if name != "start"]
    # PPO begins from the model of all three pools, with either reward.
    steps = [*zip(tuned[:2], tuned[1:3], strict=True), *((tuned[2], name) for name in tuned[3:])]
    for before, after in steps:
        for name, label in HELD_OUT.items():
            gains = [r["stages"][after][name]["pass@1"] - r["stages"][before][name]["pass@1"] for r in results]
            rows.append([f"{STAGES[after]} less {STAGES[before]}", label, over_seeds(gains, 100)])
    table("points of pass@1, paired by seed", ["", "problems", "points"], rows)


def draw(results: Sequence[dict], file: Path) -> None:
    """Accuracy after each stage: the seeds, and their mean."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = np.arange(len(STAGES))
    for (name, label), color in zip(HELD_OUT.items(), COLORS, strict=False):
        values = np.array([[100 * result["stages"][stage][name]["pass@1"] for stage in STAGES] for result in results])
        axes.plot(values.T, places, ".", color=color, alpha=0.4)
        axes.plot(values.mean(axis=0), places, "o", color=color, label=f"problems {label}")
    axes.set(title="Held-out problems", xlabel="right answers, % (pass@1)", xlim=(-2, 102))
    axes.set_yticks(places, STAGES.values())
    axes.invert_yaxis()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    figure.savefig(file, dpi=130)


if __name__ == "__main__":
    run_command(main)
