"""DeepSeek-R1's stages on the laptop, on several seeds: what each gains, and what speaking one language costs.

    python -m experiments.r1.run --seeds=3 --output=runs/r1

Each seed is the pipeline `configs/r1_math.py:tiny` in a folder of its own, and its stage `reasoning` once more without
the reward for one language. The same command again goes on where it stopped. Writes OUTPUT/results.json, OUTPUT/r1.png
and prints the table.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.pipelines import over_seeds, read_stage, read_stages, table_rows, train
from rl_reason.errors import run_command
from rl_reason.runtime.curves import COLORS
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.progress import table
from rl_reason.runtime.workdir import Workdir, write_atomic

FLAGS: Spec = {
    "seeds": (int, 3, "seeds 0, 1, … are run"),
    "output": (str, "runs/r1", "a folder for each seed, results.json and r1.png"),
    "draw": (bool, False, "run nothing; read the runs that are there"),
}
REPLIES = 3
"""Steps of a mean score of replies: the first ones that have requests, and the last ones."""
CONFIG, ABLATION = "configs/r1_math.py:tiny", "experiments/r1/without_language.py"
WITHOUT = "without_language"
STAGES = {
    "base": "base",
    "zero": "R1-Zero",
    "cold_start": "cold start",
    WITHOUT: "reasoning, without the language reward",
    "reasoning": "reasoning",
    "tuned": "fine-tuned on what was selected",
    "all": "all scenarios",
}
MEASURES = {
    "pass@1": "pass@1, %",
    "maj@4": "majority of 4, %",
    "language/mixed": "mixing, %",
    "language/mixed/en": "… asked in English",
    "language/mixed/zh": "… asked in Chinese",
    "pass@1/en": "pass@1, in English",
    "pass@1/zh": "pass@1, in Chinese",
    "tokens/completion": "tokens",
}
COMPARED = (
    ("pass@1", "cold_start", "zero"),
    ("pass@1", "reasoning", "cold_start"),
    ("pass@1", "tuned", "reasoning"),
    ("pass@1", "all", "zero"),
    ("pass@1", "reasoning", WITHOUT),
    ("maj@4", "reasoning", WITHOUT),
    ("language/mixed", "reasoning", WITHOUT),
)
"""A measure, and the two stages that are compared in it."""


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    output = Path(flags["output"])
    results = []
    for seed in range(flags["seeds"]):
        folder = output / f"seed{seed}"
        if not flags["draw"]:
            train(CONFIG, seed, folder)
            # The stage's config has its seed in it.
            train(f"{ABLATION}:{folder}", seed, output / f"seed{seed}_{WITHOUT}")
        results.append(read(folder, output / f"seed{seed}_{WITHOUT}"))
    write_atomic(output / "results.json", json.dumps(results, indent=1) + "\n")
    draw(results, output / "r1.png")
    show(results)


def show(results: Sequence[Mapping]) -> None:
    rows = table_rows(results, STAGES, [*MEASURES])
    table(f"{CONFIG}, mean of {len(results)} seeds ± 95% interval", ["stage", *MEASURES.values()], rows)
    rows = [
        [MEASURES[measure], STAGES[later], STAGES[earlier], over_seeds(_gains(results, measure, later, earlier), 100)]
        for measure, later, earlier in COMPARED
    ]
    table("differences, paired by seed", ["", "later", "less", "points"], rows)
    replies = [[when, over_seeds([result["replies"][when] for result in results])] for when in ("joining", "last")]
    table("replies to requests, score of the preference model while 'all' runs", ["steps", "score"], replies)


def _gains(results: Sequence[Mapping], measure: str, later: str, earlier: str) -> list[float]:
    """Of each seed."""
    after = [[result["stages"][stage]["after"][measure] for stage in (later, earlier)] for result in results]
    return [a - b for a, b in after]


def read(folder: Path, without: Path) -> dict:
    """What a seed has shown."""
    stages = read_stages(folder) | {WITHOUT: read_stage(without)}
    stages["base"] = {"after": stages["zero"]["before"]}
    metrics = read_jsonl(Workdir(folder / "all").metrics)
    scores = [record["reward/model"] for record in metrics if "reward/model" in record]
    selected = {name: json.loads((folder / name / "selection.json").read_text()) for name in ("cold_data", "chosen")}
    return {
        "stages": stages,
        "seconds": sum(stage.get("seconds", 0) for stage in stages.values()),
        "selected": selected,
        "replies": {"joining": float(np.mean(scores[:REPLIES])), "last": float(np.mean(scores[-REPLIES:]))},
    }


def draw(results: Sequence[dict], file: Path) -> None:
    """Accuracy and mixing after each stage: the seeds, and their mean."""
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    right, mixed = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(STAGES))
    after = [[result["stages"][stage]["after"] for stage in STAGES] for result in results]
    for axes, title, names in (
        (right, "right answers, %", ("pass@1", "pass@1/en", "pass@1/zh")),
        (mixed, "completions that mix languages, %", ("language/mixed", "language/mixed/en", "language/mixed/zh")),
    ):
        for name, label, color in zip(names, ("all", "asked in English", "asked in Chinese"), COLORS, strict=False):
            of_seeds = np.array([[100 * record[name] for record in of_seed] for of_seed in after])
            axes.plot(of_seeds.T, places, ".", color=color, alpha=0.4)
            axes.plot(of_seeds.mean(axis=0), places, "o", color=color, label=label)
        axes.set(title=title, xlim=(-2, 102))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=9)
    right.set_yticks(places, STAGES.values())
    right.invert_yaxis()
    figure.savefig(file, dpi=130)


if __name__ == "__main__":
    run_command(main)
