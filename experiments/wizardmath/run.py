"""WizardMath's ablation on the laptop, on several seeds: problems evolved downward and upward, and either reward.

    python -m experiments.wizardmath.run --seeds=3 --output=runs/wizardmath

Each seed is the pipeline `configs/wizardmath.py:tiny` and, for the lines of evolution by themselves, `lines.py` here,
each in a folder of its own; the same command again goes on where it stopped. Writes OUTPUT/results.json,
OUTPUT/wizardmath.png and prints the tables.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
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
CONFIG, LINES = "configs/wizardmath.py:tiny", "experiments/wizardmath/lines.py"
STAGES = {
    "start": "shipped model",
    "tuned_original": "original problems",
    "tuned_downward": "… and evolved downward",
    "tuned_upward": "… and evolved upward",
    "product": "PPO, instruction × product of steps",
    "minimum": "PPO, instruction × least step",
}
TUNED = {name: label for name, label in STAGES.items() if name.startswith("tuned_")}
HELD_OUT = {"word_problems": "as they were", "harder_word_problems": "harder"}
PAIRS = {
    "stages": (
        ("tuned_downward", "tuned_original"),
        ("tuned_upward", "tuned_downward"),
        ("product", "tuned_upward"),
        ("minimum", "tuned_upward"),
    ),
    "lines": (("tuned_downward", "tuned_original"), ("tuned_upward", "tuned_downward")),
}
"""Of the pipeline and of the lines by themselves, later and earlier: each is said to be ahead. PPO begins from the
model of all three pools, with either reward."""
PARTS = {"stages": "", "lines": ", by itself"}
"""What is added where either is spoken of."""
JUDGES = ("instruction_model", "process_model")


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    output = Path(flags["output"])
    seeds = range(flags["first_seed"], flags["first_seed"] + flags["seeds"])
    results = []
    for seed in seeds:
        folder, lines = output / f"seed{seed}", output / f"seed{seed}_lines"
        if not flags["draw"]:
            train(CONFIG, seed, folder)
            train(LINES, seed, lines)
        results.append(read(folder) | {"lines": {name: _evaluations(lines / name)[1] for name in TUNED}})
        results[-1]["seconds"] += _seconds(lines)
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
        "seconds": _seconds(folder),
    }


def _seconds(folder: Path) -> float:
    return sum(stage["seconds"] for stage in json.loads((folder / "stages.json").read_text()).values())


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
    measured = f"held-out problems, %, mean of {len(results)} seeds ± 95% interval"
    table(f"{CONFIG}, {measured}", ["learned from", *HEADS], rows([result["stages"] for result in results], STAGES))
    table(f"{LINES}, {measured}", ["learned from", *HEADS], rows([result["lines"] for result in results], TUNED))
    gained = []
    for part, later, earlier in ((part, *pair) for part, pairs in PAIRS.items() for pair in pairs):
        what = f"{STAGES[later]} less {STAGES[earlier]}{PARTS[part]}"
        for name, label in HELD_OUT.items():
            gained.append([what, label, over_seeds(gains(results, part, later, earlier, name), 100)])
    table("points of pass@1, paired by seed", ["", "problems", "points"], gained)


HEADS = [f"{label}, {measure}" for measure in ("pass@1", "maj@4") for label in HELD_OUT.values()]


def rows(results: Sequence[Mapping], stages: Mapping[str, str]) -> list[list[str]]:
    """Of each stage pass@1 and maj@4 on either set of problems, over seeds."""
    made = []
    for stage, label in stages.items():
        of_seeds = [result[stage] for result in results]
        cells = [over_seeds([one[name][m] for one in of_seeds], 100) for m in ("pass@1", "maj@4") for name in HELD_OUT]
        made.append([label, *cells])
    return made


def gains(results: Sequence[Mapping], part: str, later: str, earlier: str, problems: str) -> list[float]:
    """Of each seed what a stage has more than another one, pass@1."""
    return [one[part][later][problems]["pass@1"] - one[part][earlier][problems]["pass@1"] for one in results]


def draw(results: Sequence[dict], file: Path) -> None:
    """Accuracy after each stage of the pipeline and after each line by itself: the seeds, and their mean."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 1, sharex=True, height_ratios=(len(STAGES), len(TUNED)))
    titles = ("Held-out problems: the pipeline", "the lines by themselves, fine-tuned for longer")
    for axes, part, stages, title in zip(panels, ("stages", "lines"), (STAGES, TUNED), titles, strict=True):
        places = np.arange(len(stages))
        for (name, label), color in zip(HELD_OUT.items(), COLORS, strict=False):
            values = np.array([[100 * result[part][stage][name]["pass@1"] for stage in stages] for result in results])
            axes.plot(values.T, places, ".", color=color, alpha=0.4)
            axes.plot(values.mean(axis=0), places, "o", color=color, label=f"problems {label}")
        axes.set(title=title, xlim=(-2, 102), ylim=(len(stages) - 0.5, -0.5))
        axes.set_yticks(places, stages.values())
        axes.grid(alpha=0.3)
    panels[0].legend(fontsize=9)
    panels[1].set_xlabel("right answers, % (pass@1)")
    figure.savefig(file, dpi=130)


if __name__ == "__main__":
    run_command(main)
