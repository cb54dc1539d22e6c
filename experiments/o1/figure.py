"""The picture and the tables of what `run.summarize` made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from experiments.methods.run import interval
from experiments.test_time_scaling.figures import LABELS, draw_line, log_axis, make_figure
from rl_reason.runtime.curves import COLORS
from rl_reason.runtime.progress import table

METHODS = {
    "one": ("*", "none"),
    "majority": ("s", ":"),
    "best": ("o", "-"),
    "weighted": ("^", "--"),
    "beam_vote": ("P", "none"),
    "tree_vote": ("X", "none"),
}
"""Marker and line at test time; color tells the policy."""


def draw(results: Mapping, file: Path) -> None:
    """Accuracy against the compute of reinforcement, and of three of its policies against the tokens of an answer."""
    figure = make_figure((9.5, 10))
    above, below = figure.subplots(2, 1)
    steps = dict(zip(results["test_time"], (COLORS[0], COLORS[1], COLORS[2]), strict=True))
    _draw_training(above, results["training"], steps)
    for step, color in steps.items():
        for name, (marker, style) in METHODS.items():
            points = results["test_time"][step][name]
            size = 10 if name == "one" else 5
            draw_line(below, [point["drawn"] for point in points], points, color, "", marker, size, style)
    drawn = [point["drawn"] for of_step in results["test_time"].values() for name in METHODS for point in of_step[name]]
    log_axis(below, drawn)
    for axes in (above, below):
        axes.set(ylabel="problems solved, %", ylim=(0, 103))
    judge = np.mean(results["training"][0]["total"])
    above.set_xlabel(
        f"TFLOP of reinforcement until then, logarithmic; before the line from 0 on linear\n"
        f"(the reward model took {judge:.2f} before that)"
    )
    above.set_title("Training (thin lines: seeds)", loc="left", fontweight="bold", fontsize=11)
    below.set_xlabel("tokens for a problem: drawn by the policy, logarithmic")
    below.set_title("Test time (whiskers: 95% interval over problems)", loc="left", fontweight="bold", fontsize=11)
    shown = [Line2D([], [], color=color, linewidth=4, label=f"policy of step {step}") for step, color in steps.items()]
    shown += [
        Line2D([], [], color="#555555", marker=marker, linestyle=style, label=LABELS[name])
        for name, (marker, style) in METHODS.items()
    ]
    figure.legend(
        handles=[*above.get_legend_handles_labels()[0], *shown], loc="outside lower center", ncols=4, frameon=False,
        fontsize=9,
    )  # fmt: skip
    figure.savefig(file, dpi=150)


def _draw_training(axes: Axes, training: Sequence[Mapping], steps: Mapping[str, str]) -> None:
    """Each seed, and their mean; the policies that are put to use at test time stand out."""
    x_S = np.mean([one["policy"] for one in training], axis=1)
    for name, label, style in (("pass@1", "one sample", "-"), ("maj@8", "majority of 8", "--")):
        y_SN = 100 * np.array([one[name] for one in training])
        axes.plot(x_S, y_SN, color="#bbbbbb", linewidth=0.8, linestyle=style)
        axes.plot(
            x_S, y_SN.mean(axis=1), color="#333333", linewidth=2, linestyle=style, label=f"{label}, mean of seeds"
        )
    for step, color in steps.items():
        (at,) = (i for i, one in enumerate(training) if one["step"] == int(step))
        axes.plot(x_S[at], 100 * np.mean(training[at]["pass@1"]), color=color, marker="*", markersize=13)
    # The policy that has cost nothing has no place on a logarithmic axis.
    axes.set_xscale("symlog", base=2, linthresh=x_S[1], linscale=0.7)
    axes.axvline(x_S[1], color="#999999", linestyle=":")
    low, high = np.log2(x_S[1]), np.log2(x_S[-1])
    axes.xaxis.set_major_locator(FixedLocator([0, *(2.0**i for i in range(int(np.ceil(low)), int(high + 0.1) + 1))]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.set_xlim(-0.1 * x_S[1], 2 ** (high + 0.25))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#e8e8e8", linewidth=0.8)
    axes.set_axisbelow(True)


def show(results: Mapping) -> None:
    rows = []
    for one in results["training"]:
        compute = [f"{np.mean(one[name]):.2f}" for name in ("total", "policy")]
        rows.append([one["step"], *compute, _with_interval(one["pass@1"]), _with_interval(one["maj@8"])])
    title = f"training, held-out problems, mean over {results['seeds']} seeds ± 95% interval"
    table(title, ["step", "TFLOP", "of these the policy's", "pass@1, %", "majority of 8, %"], rows)
    rows = []
    policies = results["test_time"]
    for name, label in LABELS.items():
        for points in zip(*(methods[name] for methods in policies.values()), strict=True):
            rows.append([label, points[0]["size"], *map(_solved, points)])
    columns = ["method", "size", *(f"policy of step {step}" for step in policies)]
    table("solved at test time, %, [95% interval over problems] (tokens drawn)", columns, rows)


def _solved(point: Mapping) -> str:
    low, high = (100 * bound for bound in point["ci95"])
    return f"{100 * point['accuracy']:.1f} [{low:.1f}, {high:.1f}] ({point['drawn']:.0f})"


def _with_interval(values: Sequence[float]) -> str:
    middle, width = interval(values)
    return f"{100 * middle:.1f}" + ("" if np.isnan(width) else f" ± {100 * width:.1f}")
