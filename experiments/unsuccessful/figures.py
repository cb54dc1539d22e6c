"""The pictures, and the tables that are printed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.methods.run import interval, verdict
from experiments.unsuccessful import hacking, search_data
from rl_reason.runtime.curves import COLORS
from rl_reason.runtime.progress import table

SHARES = (0.0, 0.1, 1.0)
"""Of a run, where its numbers are told. They are fixed: the best evaluation of many would be so by chance, too. The
middle one was chosen when the first seed had shown how soon accuracy turns."""


def since(name: str) -> float:
    """The share from which an arm's change is told: the middle one, where accuracy has risen first. By the product of
    steps it falls at once, and most of the fall would lie before."""
    return SHARES[0] if name == "product" else SHARES[1]


def draw_hacking(results: Mapping[str, Sequence[dict]], file: Path) -> None:
    """Learned reward, held-out accuracy and length over steps: each seed, and the mean."""
    figure = Figure(figsize=(10, 7.6), layout="constrained")
    FigureCanvasAgg(figure)
    accuracy, learned, length, legend = figure.subplots(2, 2).flat
    for (name, runs), color in zip(results.items(), COLORS, strict=False):
        label, steps = hacking.ARMS[name].label, runs[0]["rollouts"]["step"]
        _lines(learned, steps, [run["rollouts"]["learned"] for run in runs], label, color)
        _lines(length, steps, [run["rollouts"]["tokens"] for run in runs], label, color)
        evaluated = [record["step"] for record in runs[0]["evaluations"]]
        right = [[100 * record["pass@1"] for record in run["evaluations"]] for run in runs]
        _lines(accuracy, evaluated, right, label, color)
    for axes, title, unit in (
        (learned, "Learned reward of the rollouts", "mean"), (accuracy, "Held-out problems", "% right (pass@1)"),
        (length, "Length of completions", "tokens"),
    ):  # fmt: skip
        _finish(axes, title, "steps", unit)
    legend.axis("off")
    title = "maximized (thick: mean of seeds)"
    legend.legend(*learned.get_legend_handles_labels(), loc="center", frameon=False, fontsize=11, title=title)
    figure.savefig(file, dpi=130)


def draw_rounds(results: Mapping[str, Sequence[Sequence[dict]]], file: Path) -> None:
    """Held-out accuracy over rounds of search and training, and of sampling and training."""
    figure = Figure(figsize=(6.5, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for (arm, runs), color in zip(results.items(), COLORS, strict=False):
        rounds = [row["round"] for row in runs[0]]
        _lines(axes, rounds, [[100 * row["pass@1"] for row in run] for run in runs], search_data.ARMS[arm], color)
    axes.set_xticks(rounds)
    _finish(axes, "Held-out problems", "rounds", "% right (pass@1)")
    axes.legend(fontsize=9)
    figure.savefig(file, dpi=130)


def show(results: Mapping[str, Mapping]) -> None:
    """The parts that there are."""
    if "hacking" in results:
        _show_hacking(results["hacking"])
    if "search" in results:
        _show_rounds(results["search"])


def _show_hacking(results: Mapping[str, Sequence[dict]]) -> None:
    rows = []
    for name, runs in results.items():
        cells = []
        for share in SHARES:
            right = with_interval([100 * hacking.accuracy_at(run, share) for run in runs])
            said = with_interval([hacking.learned_at(run, share) for run in runs], digits=3)
            cells.append(f"{right}% ({said})")
        begin = since(name)
        changes = [100 * (hacking.accuracy_at(run, 1.0) - hacking.accuracy_at(run, begin)) for run in runs]
        told = f"from {begin:.0%}: {with_interval(changes, sign='+')} points"
        told += f", {verdict(*interval(changes))}" if len(runs) > 1 else ""
        said = [hacking.learned_at(run, 1.0) - hacking.learned_at(run, begin) for run in runs]
        rows.append([hacking.ARMS[name].label, *cells, f"{told} ({with_interval(said, digits=3, sign='+')})"])
    heads = [f"after {share:.0%} of the steps" for share in SHARES]
    title = "held-out pass@1 (learned reward), mean over seeds ± 95% interval"
    table(title, ["maximized", *heads, "change to the end"], rows)


def _show_rounds(results: Mapping[str, Sequence[Sequence[dict]]]) -> None:
    rows = []
    for arm, runs in results.items():
        for same in zip(*runs, strict=True):
            row = [search_data.ARMS[arm], same[0]["round"], with_interval([100 * one["pass@1"] for one in same])]
            for key, scale, digits in (("found_right", 100, 1), ("learned_from", 1, 0), ("tokens_sampled", 1, 0)):
                known = key in same[0]
                row.append(with_interval([scale * one[key] for one in same], digits) if known else "")
            rows.append(row)
    # Of a search the path that it chose, of sampling the mean of all: what each would learn from.
    heads = ["data", "round", "held-out pass@1, %", "right when made, %", "solutions", "tokens sampled"]
    table("fine-tuned on what was found, mean over seeds ± 95% interval", heads, rows)


def with_interval(values: Sequence[float], digits: int = 1, sign: str = "") -> str:
    middle, width = interval(values)
    return f"{middle:{sign}.{digits}f}" + ("" if math.isnan(width) else f" ± {width:.{digits}f}")


def _lines(axes: Axes, x: Sequence[int], series: Sequence[Sequence[float]], label: str, color: str) -> None:
    values = np.array(series, np.float64)
    for of_seed in values:
        axes.plot(x, of_seed, color=color, alpha=0.3, linewidth=1)
    axes.plot(x, values.mean(axis=0), color=color, linewidth=2, label=label)


def _finish(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
