"""The pictures and tables of what `estimates` made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from rl_reason.runtime.curves import COLORS
from rl_reason.runtime.progress import table

LABELS = {
    "one": "one sample",
    "majority": "majority",
    "best": "best-of-N",
    "weighted": "weighted majority",
    "beam": "beam search, best",
    "beam_vote": "beam search, weighted vote",
    "tree": "tree search, best",
    "tree_vote": "tree search, weighted vote",
    "any": "any of N right (pass@N)",
}
STYLES = {
    "one": ("#000000", "*", "-"),
    "majority": (COLORS[6], "s", "-"),
    "best": (COLORS[0], "o", "-"),
    "weighted": (COLORS[0], "^", "--"),
    "beam": (COLORS[1], "o", "-"),
    "beam_vote": (COLORS[1], "^", "--"),
    "tree": (COLORS[2], "o", "-"),
    "tree_vote": (COLORS[2], "^", "--"),
}
"""Color, marker and line: solid where the highest score chooses, dashed where scores vote."""
DATA = {"trained": "as long as in training (2 to 4 events)", "longer": "one event longer (5)"}


def draw_scaling(scaling: Mapping[str, Sequence[Mapping]], file: Path) -> None:
    """Accuracy against what a problem took: tokens that were drawn, and with those that the reward model read."""
    figure = make_figure((11, 5.2))
    axes = figure.subplots(1, 2, sharey=True)
    for panel, reads in zip(axes, (False, True), strict=True):
        ceiling = scaling["any"]
        if not reads:
            x = [point["drawn"] for point in ceiling]
            panel.plot(x, _percent(ceiling), color="#bbbbbb", linestyle=":", linewidth=2, label=LABELS["any"])
        for name, (color, marker, style) in STYLES.items():
            x = [point["drawn"] + reads * point["read"] for point in scaling[name]]
            draw_line(panel, x, scaling[name], color, LABELS[name], marker, 10 if name == "one" else 5, style)
        log_axis(panel, [x for line in panel.get_lines() for x in line.get_xdata()])
        panel.set_xlabel("tokens for a problem: drawn by the policy" + (" + read by the reward model" if reads else ""))
    axes[0].set_ylabel("problems solved, %")
    axes[0].set_title("Accuracy against tokens spent", loc="left", fontweight="bold", fontsize=11)
    axes[1].set_title("Reading counted too", loc="left", fontweight="bold", fontsize=11)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    figure.savefig(file, dpi=150)


def draw_before_after(before_after: Mapping[str, Mapping], file: Path) -> None:
    """maj@K and pass@K of the policy before and after RL."""
    figure = make_figure((11, 4.6))
    axes = figure.subplots(1, 2, sharey=True)
    for panel, (data, title) in zip(axes, DATA.items(), strict=True):
        for when, color in (("before", COLORS[0]), ("after", COLORS[1])):
            for measure, marker, style in (("pass", "o", "-"), ("maj", "s", "--")):
                points = before_after[data][when][measure]
                x = [point["size"] for point in points]
                draw_line(panel, x, points, color, f"{measure}@K {when} RL", marker, 5, style)
        log_axis(panel, [1, points[-1]["size"]])
        panel.set_xlabel("K, samples of a problem")
        panel.set_title(f"Problems {title}", loc="left", fontweight="bold", fontsize=11)
        panel.set_ylim(0, 102)
    axes[0].set_ylabel("problems solved, %")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    figure.savefig(file, dpi=150)


def make_figure(size: tuple[float, float]) -> Figure:
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _percent(points: Sequence[Mapping]) -> np.ndarray:
    return 100 * np.array([point["accuracy"] for point in points])


def draw_line(
    axes: Axes, x: Sequence[float], points: Sequence[Mapping], color: str, label: str, marker: str, size: int, style="-"
) -> None:
    """The means with their 95% intervals."""
    y, (low, high) = _percent(points), 100 * np.array([point["ci95"] for point in points]).T
    errors = np.maximum([y - low, high - y], 0)
    axes.errorbar(
        x, y, errors, color=color, marker=marker, markersize=size, linewidth=1.6, linestyle=style, elinewidth=0.9,
        capsize=2, label=label,
    )  # fmt: skip


def log_axis(axes: Axes, values: Sequence[float]) -> None:
    """Powers of two, written out."""
    low, high = np.log2(min(values)), np.log2(max(values))
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator([2.0**i for i in range(int(np.ceil(low - 0.1)), int(high + 0.1) + 1)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.set_xlim(2 ** (low - 0.25), 2 ** (high + 0.25))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#e8e8e8", linewidth=0.8)
    axes.set_axisbelow(True)


def show(results: Mapping) -> None:
    told = f"{results['seeds']} seeds of {results['problems']} problems, [95% interval over problems]"
    rows = [
        [LABELS[name], point["size"], f"{point['drawn']:.0f}", f"{point['read']:.0f}", _told(point)]
        for name in LABELS
        for point in results["scaling"][name]
    ]
    table(told, ["method", "size", "tokens drawn", "tokens read", "solved, %"], rows)
    rows = [
        [f"{LABELS[c['later']]} − {LABELS[c['earlier']]}", _pair(c["sizes"]), _pair(c["drawn"]), _told(c, "difference")]
        for c in results["compared"]
    ]
    table("differences, paired by problem", ["", "sizes", "tokens drawn", "points"], rows)
    rows = [
        [DATA[data], when, f"{measure}@{point['size']}", _told(point)]
        for data, of_data in results["before_after"].items()
        for when, of_time in of_data.items()
        for measure, points in of_time.items()
        for point in (points[0], points[-1])
    ]
    table("before and after RL", ["problems", "policy", "", "solved, %"], rows)


def _pair(values: Sequence[float]) -> str:
    return " / ".join(f"{value:.0f}" for value in values)


def _told(point: Mapping, key: str = "accuracy") -> str:
    """As 41.0 [38.2, 43.9]; a difference with its sign, and by seed."""
    low, high = (100 * bound for bound in point["ci95"])
    if key == "accuracy":
        return f"{100 * point[key]:.1f} [{low:.1f}, {high:.1f}]"
    by_seed = ", ".join(f"{100 * value:+.1f}" for value in point["by_seed"])
    return f"{100 * point[key]:+.1f} [{low:+.1f}, {high:+.1f}] (by seed {by_seed})"
