"""R1-Zero on the laptop, on several seeds: the curves of the paper's figures, and the table of what was gained.

    python -m experiments.r1_zero.run --seeds=3 --output=runs/r1_zero

Each seed is a run of `configs/r1_zero_math.py:tiny` in a folder of its own; the same command again goes on where it
stopped. Writes OUTPUT/results.json and OUTPUT/r1_zero.png and prints the table.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.methods.run import interval
from experiments.pipelines import train
from rl_reason.errors import RunError, run_command
from rl_reason.runtime.curves import COLORS
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.progress import table
from rl_reason.runtime.workdir import Workdir, write_atomic

FLAGS: Spec = {
    "seeds": (int, 3, "seeds 0, 1, … are run"),
    "output": (str, "runs/r1_zero", "a folder for each seed, results.json and r1_zero.png"),
    "config": (str, "configs/r1_zero_math.py:tiny", "the experiment"),
    "draw": (bool, False, "run nothing; read the runs that are there"),
}
SHARES = ("pass@1", "pass@8", "maj@8", "format", "correction/rate")
MEASURES = {
    "pass@1": "pass@1, %",
    "pass@8": "pass@8, %",
    "maj@8": "majority of 8, %",
    "format": "in the asked format, %",
    "correction/rate": "completions that correct a calculation, %",
    "tokens/completion": "tokens of a completion",
    "tokens/right": "tokens of a right one",
    "tokens/wrong": "tokens of a wrong one",
    "reflection/words": "words of reflection in a completion",
}
PER_THOUSAND = "words of reflection per thousand tokens"
DIGITS = {"correction/rate": 2, "reflection/words": 3, PER_THOUSAND: 2}
"""Behind the point; of the others one."""
TRAINED = (
    "tokens/completion", "tokens/right", "tokens/wrong", "sampling/limit", "reflection/words", "correction/rate",
    "correction/undone",
)  # fmt: skip
"""Metrics of the rollouts that are drawn."""


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    output = Path(flags["output"])
    results = []
    for seed in range(flags["seeds"]):
        folder, began = output / f"seed{seed}", time.monotonic()
        if not flags["draw"]:
            train(flags["config"], seed, folder)
        results.append({"seed": seed, "seconds": round(time.monotonic() - began, 1), **_read(folder)})
    write_atomic(output / "results.json", json.dumps(results, indent=2) + "\n")
    draw(results, output / "r1_zero.png")
    show(results)


def _read(folder: Path) -> dict:
    """The evaluations of a run, metrics of its rollouts, and how many completions corrected themselves."""
    workdir = Workdir(folder)
    evaluations, metrics = list(read_jsonl(workdir.eval)), list(read_jsonl(workdir.metrics))
    if len(evaluations) < 2:
        raise RunError(f"{folder}: no evaluations before and after; run this command without --draw")
    kept = ("step", *MEASURES, *(f"{name}_ci95" for name in MEASURES))
    return {
        "evaluations": [{name: record[name] for name in kept if name in record} for record in evaluations],
        "rollouts": {name: [record.get(name) for record in metrics] for name in ("step", *TRAINED)},
        "corrections_kept": sum(1 for _ in read_jsonl(workdir.corrections)),
    }


def words_per_thousand(record: Mapping[str, float]) -> float:
    """Words of reflection in a thousand tokens of an evaluation: a longer completion has more of all words."""
    return 1000 * record["reflection/words"] / record["tokens/completion"]


def show(results: Sequence[dict]) -> None:
    """A row a seed, and the means with the interval of the gains over seeds."""
    rows = []
    for result in results:
        before, after = result["evaluations"][0], result["evaluations"][-1]
        rows.append([result["seed"], *(_pair(before.get(name), after.get(name), name) for name in MEASURES)])
    table("before → after", ["seed", *MEASURES.values()], rows)
    gains = []
    for name, label in MEASURES.items():
        ends = [(result["evaluations"][0].get(name), result["evaluations"][-1].get(name)) for result in results]
        known = [(before, after) for before, after in ends if before is not None and after is not None]
        if known:
            befores, afters = zip(*known, strict=True)
            gain = _gain([after - before for before, after in known], name)
            gains.append([label, _pair(mean(befores), mean(afters), name), gain])
    befores, afters = zip(*([words_per_thousand(r["evaluations"][i]) for i in (0, -1)] for r in results), strict=True)
    gain = _gain([after - before for before, after in zip(befores, afters, strict=True)], PER_THOUSAND)
    gains.append([PER_THOUSAND, _pair(mean(befores), mean(afters), PER_THOUSAND), gain])
    ahead = [result["evaluations"][-1]["maj@8"] - result["evaluations"][-1]["pass@1"] for result in results]
    gains.append(["majority of 8 − pass@1, after, %", "", _gain(ahead, "maj@8")])
    table(f"mean of {len(results)} seeds ± 95% interval", ["", "before → after", "difference"], gains)


def _pair(before: float | None, after: float | None, name: str) -> str:
    return " → ".join("–" if value is None else _told(value, name) for value in (before, after))


def _gain(values: Sequence[float], name: str) -> str:
    middle, width = interval(values)
    return _told(middle, name, "+") + ("" if math.isnan(width) else f" ± {_told(width, name)}")


def _told(value: float, name: str, sign: str = "") -> str:
    return f"{value * (100 if name in SHARES else 1):{sign}.{DIGITS.get(name, 1)}f}"


def draw(results: Sequence[dict], file: Path) -> None:
    """Accuracy and majority on held-out problems, the length of right and wrong completions under the limit, words of
    reflection and calculations taken back, and these words by length: each seed, and the mean, over rollouts."""
    figure = Figure(figsize=(10, 7.6), layout="constrained")
    FigureCanvasAgg(figure)
    accuracy, length, words, density = figure.subplots(2, 2).flat
    steps = [record["step"] for record in results[0]["evaluations"]]
    for name, label, color in (("pass@1", "pass@1", COLORS[0]), ("maj@8", "majority of 8", COLORS[1])):
        series = [[100 * record[name] for record in result["evaluations"]] for result in results]
        _draw_lines(accuracy, steps, series, label, color)
    rollouts = results[0]["rollouts"]["step"]
    of_all = lambda name: [result["rollouts"][name] for result in results]  # noqa: E731
    for name, label, color in (
        ("tokens/completion", "all", COLORS[0]),
        ("tokens/right", "right", COLORS[2]),
        ("tokens/wrong", "wrong", COLORS[1]),
    ):
        _draw_lines(length, rollouts, of_all(name), label, color)
    length.step(rollouts, results[0]["rollouts"]["sampling/limit"], "k--", where="mid", linewidth=1, label="limit")
    _draw_lines(words, rollouts, of_all("reflection/words"), "words of reflection", COLORS[0])
    for name, label, color in (
        ("correction/rate", "share that corrects a calculation", COLORS[2]),
        ("correction/undone", "share that undoes one", COLORS[1]),
    ):
        _draw_lines(words, rollouts, of_all(name), label, color)
    by_length = [
        1000 * np.array(words_S, np.float64) / np.array(tokens_S, np.float64)
        for words_S, tokens_S in zip(of_all("reflection/words"), of_all("tokens/completion"), strict=True)
    ]
    _draw_lines(density, rollouts, by_length, "words of reflection", COLORS[0])
    for axes, title, unit in (
        (accuracy, "Held-out problems", "% right"), (length, "Length of completions", "tokens"),
        (words, "Reflection in a completion", ""), (density, "Reflection by length", "per thousand tokens"),
    ):  # fmt: skip
        axes.set(title=title, xlabel="rollouts", ylabel=unit)
        # Room for what the lines are called.
        axes.set_ylim(0, 1.3 * axes.get_ylim()[1] if axes in (words, density) else None)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.grid(alpha=0.3)
        axes.legend(loc="upper left")
    figure.savefig(file, dpi=130)


def _draw_lines(axes: Axes, x: Sequence[int], series: Sequence[Sequence[float | None]], label: str, color: str) -> None:
    values = np.array(series, np.float64)  # None: NaN, a gap
    for of_seed in values:
        axes.plot(x, of_seed, color=color, alpha=0.3, linewidth=1)
    axes.plot(x, values.mean(axis=0), color=color, linewidth=2, label=label)


if __name__ == "__main__":
    run_command(main)
