"""A student of a large teacher against the same student that learns by reinforcement, on several seeds.

    python -m experiments.distillation.run --seeds=3 --output=runs/distillation

Each seed is the pipeline `configs/distill_math.py:tiny` in a folder of its own; the same command again goes on where it
stopped. Writes OUTPUT/results.json, OUTPUT/distillation.png and prints the table.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.methods.run import interval
from experiments.pipelines import read_stages, table_rows, train
from rl_reason.errors import run_command
from rl_reason.runtime.curves import COLORS
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.progress import table
from rl_reason.runtime.workdir import write_atomic

FLAGS: Spec = {
    "seeds": (int, 3, "seeds 0, 1, … are run"),
    "output": (str, "runs/distillation", "a folder for each seed, results.json and distillation.png"),
    "draw": (bool, False, "run nothing; read the runs that are there"),
}
CONFIG = "configs/distill_math.py:tiny"
ROWS = {
    "teacher_base": "teacher, before reinforcement",
    "teacher": "teacher",
    "student_base": "student, as it starts",
    "by_reinforcement": "student by reinforcement",
    "student": "student on the teacher's selected completions",
    "on_policy": "student on the teacher's distribution, on its own completions",
}
MEASURES = {
    "pass@1": "pass@1, %",
    "maj@4": "majority of 4, %",
    "format": "in the asked format, %",
    "tokens/completion": "tokens of a completion",
}


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    output = Path(flags["output"])
    results = []
    for seed in range(flags["seeds"]):
        folder = output / f"seed{seed}"
        if not flags["draw"]:
            train(CONFIG, seed, folder)
        stages = read_stages(folder)
        stages["teacher_base"] = {"after": stages["teacher"]["before"]}
        stages["student_base"] = {"after": stages["student"]["before"]}
        selected = json.loads((folder / "chosen" / "selection.json").read_text())
        results.append({"stages": stages, "selected": selected})
    write_atomic(output / "results.json", json.dumps(results, indent=1) + "\n")
    draw(results, output / "distillation.png")
    show(results)


def show(results: Sequence[Mapping]) -> None:
    title = f"{CONFIG}, 3,200 completions each, mean of {len(results)} seeds ± 95% interval"
    table(title, ["", *MEASURES.values()], table_rows(results, ROWS, [*MEASURES]))


def draw(results: Sequence[Mapping], file: Path) -> None:
    """Right answers of teacher and students: means with their 95% intervals over seeds, and each seed as a point."""
    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for measure, label, color, offset in (
        ("pass@1", "one sample", COLORS[5], -0.2), ("maj@4", "majority of 4", COLORS[4], 0.2),
    ):  # fmt: skip
        of_rows = [[100 * result["stages"][stage]["after"][measure] for result in results] for stage in ROWS]
        middles, widths = zip(*map(interval, of_rows), strict=True)
        places = [place + offset for place in range(len(ROWS))]
        axes.barh(places, middles, 0.38, xerr=widths, color=color, ecolor="#333333", capsize=3, label=label)
        for place, values in zip(places, of_rows, strict=True):
            axes.plot(values, [place] * len(values), ".", color="black")
    axes.set(xlabel="right answers, %", xlim=(0, 100))
    axes.set_yticks(range(len(ROWS)), ROWS.values())
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    figure.savefig(file, dpi=130)



if __name__ == "__main__":
    run_command(main)
