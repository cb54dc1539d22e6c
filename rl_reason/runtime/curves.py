"""The curves of a run: what is drawn in which panel, and the picture `curves.png`."""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.workdir import Workdir, write_atomic

# Okabe and Ito's palette, which the colour-blind can tell apart; the first is the panel's main line.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
# More points than this are averaged in buckets: a picture has no more columns.
MAX_POINTS = 2000
# `reward/…` metrics that are no part of the reward.
_NOT_REWARD_PARTS = {"mean", "std", "min", "max", "correct", "wrong", "unparseable", "timeout", "crash"}
PHASES = ("sample", "reward", "wait", "resample", "score", "update", "reward_model")
BETWEEN = ("evaluate", "save")
"""Phases between a step and the one before."""

WIDTH, HANDLE = 70, 5
"""Characters that a panel's legend has room for, and what stands before each label in these."""
LEGEND_ROW = 12
"""Points that a row of it takes."""

Series = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Metric → (steps [N], values [N]), both float64; nulls left out."""
Evals = Mapping[str, Sequence[Mapping[str, Any]]]
"""Data set → its records of eval.jsonl, by step."""


@dataclass(frozen=True)
class Panel:
    """One picture: lines over steps."""

    title: str
    unit: str
    lines: tuple[tuple[str, str], ...]
    """(metric, label) pairs."""
    percent: bool = False
    log: bool = False
    stacked: bool = False
    held_out: str = ""
    """A measure of eval.jsonl that is drawn too, with its interval."""


def panels(metrics: Collection[str], evals: Evals) -> list[Panel]:
    """The panels for which there is something to draw, of a run with these metrics and evaluations (`read_evals`)."""
    records = [record for of_one in evals.values() for record in of_one]
    votes = _votes([name for name in metrics if name.endswith("/train")])
    # Where evaluations differ in their samples, votes that all of them have make one line.
    measures = [set(record) for record in records] or [set()]
    held_out_votes = _votes(set.intersection(*measures)) or _votes(set.union(*measures))
    rewards = (name.removeprefix("reward/") for name in metrics if name.startswith("reward/"))
    parts = [(f"reward/{part}", part) for part in sorted(rewards) if part not in _NOT_REWARD_PARTS]
    phases = [(f"time/{phase}_s", phase) for phase in (*PHASES, "other")]
    planned = [
        Panel("Reward", "reward of a completion", (("reward/mean", "total"), *parts)),
        Panel("pass@1", "share of right completions", (("pass@1/train", "training"),), percent=True, held_out="pass@1"),
        Panel(
            "Right by majority",
            "share of questions",
            tuple((f"maj@{k}/train", f"maj@{k}, training") for k in votes),
            percent=True,
            held_out=f"maj@{held_out_votes[-1]}" if held_out_votes else "",
        ),
        Panel("Loss", "loss", (("loss", "loss"),)),
        Panel("Perplexity", "of held-out documents", (), held_out="perplexity"),
        Panel("Token accuracy", "share of tokens", (("accuracy/token", "training"),), percent=True),
        Panel("Preferred", "share of pairs, chosen ahead", (("preference/accuracy", "training"),), percent=True),
        Panel("Margin of the chosen", "β · difference of log-ratios", (("preference/margin", "mean"),)),
        Panel("Divergence from the teacher", "nats per token", (("distillation/divergence", "training"),)),
        Panel(
            "Most probable token",
            "share where it is the teacher's",
            (("distillation/agreement", "training"),),
            percent=True,
        ),
        Panel(
            "Completion length",
            "tokens",
            (("tokens/completion", "mean length"), ("tokens/right", "right"), ("tokens/wrong", "wrong")),
        ),
        Panel("Words of reflection", "in a completion", (("reflection/words", "words"),)),
        Panel(
            "Calculations taken back",
            "share of completions",
            (("correction/rate", "wrong → right"), ("correction/undone", "right → wrong")),
            percent=True,
        ),
        Panel("KL to the reference", "nats per token", (("kl/reference", "KL"),)),
        Panel("Entropy", "nats per token", (("entropy", "entropy"),)),
        Panel("Gradient norm", "L2 norm before clipping", (("optimizer/grad_norm", "gradient"),)),
        Panel(
            "Critic", "share of the returns' variance that it explains", (("critic/explained_variance", "explained"),)
        ),
        Panel("Loss of the critic", "½ (V − R)² per token", (("critic/loss", "loss"),)),
        Panel(
            "Sampler − trainer log-probability",
            "|difference| (nats)",
            (("logprob_difference/mean", "mean"), ("logprob_difference/max", "maximum")),
            log=True,
        ),
        Panel(
            "Sampled ahead: policy that sampled − policy that learns",
            "|difference of log-probability| (nats)",
            (("staleness/difference/mean", "mean"), ("staleness/difference/max", "maximum")),
            log=True,
        ),
        Panel(
            "Weights of what the sampler's policy does otherwise",
            "share of tokens",
            (("ratio/correction_limited", "at the limit"),),
            percent=True,
        ),
        Panel(
            "Balance of experts",
            "load of the busiest expert ÷ mean − 1",
            (("experts/violation/mean", "mean of layers"), ("experts/violation/max", "worst layer")),
        ),
        Panel("Time of a step", "seconds", tuple(phases), stacked=True),
        Panel("Time between steps", "seconds", tuple((f"time/{phase}_s", phase) for phase in BETWEEN)),
        Panel("Throughput", "tokens per second", (("tokens/s", "tokens"),)),
        Panel("Model FLOPs utilisation", "share of the devices' peak", (("mfu", "all phases"),), percent=True),
        Panel("Greatest memory", "GiB", (("memory/device_GiB", "of a device"), ("memory/host_GiB", "of the process"))),
    ]
    made = []
    for panel in planned:
        lines = tuple((metric, label) for metric, label in panel.lines if metric in metrics)
        if lines or any(panel.held_out in record for record in records):
            made.append(Panel(**{**vars(panel), "lines": lines}))
    return made


def _votes(names: Iterable[str]) -> list[int]:
    """The k of all maj@k among names of measures, or of metrics."""
    found = (re.fullmatch(r"maj@(\d+)(?:/train)?", name) for name in names)
    return sorted(int(match[1]) for match in found if match)


def read_series(workdir: Workdir) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The metrics of a run; adds `time/other_s`, what is left of a step's time. A metric of nulls only is left out."""
    points: dict[str, tuple[list[float], list[float]]] = {}
    for record in read_jsonl(workdir.metrics):
        step = record.pop("step", None)
        if not isinstance(step, int):
            continue
        phases = [record.get(f"time/{phase}_s") for phase in PHASES]
        if isinstance(whole := record.get("time/step_s"), int | float) and any(p is not None for p in phases):
            record["time/other_s"] = max(0.0, whole - sum(p or 0.0 for p in phases))
        for name, value in record.items():
            if isinstance(value, int | float):
                steps, values = points.setdefault(name, ([], []))
                steps.append(step)
                values.append(value)
    return {name: _thin(np.asarray(s, float), np.asarray(v, float)) for name, (s, v) in points.items()}


def read_evals(workdir: Workdir) -> dict[str, list[dict[str, Any]]]:
    """Data set → its records of eval.jsonl with a `pass@1` or a `perplexity`, by step."""
    evals: dict[str, list[dict[str, Any]]] = {}
    for record in read_jsonl(workdir.eval):
        told = (record.get("pass@1"), record.get("perplexity"))
        if any(isinstance(value, int | float) for value in told) and isinstance(record.get("step"), int):
            evals.setdefault(str(record.get("dataset", "held-out")), []).append(record)
    return {name: sorted(records, key=lambda r: r["step"]) for name, records in evals.items()}


def smooth(values: np.ndarray) -> np.ndarray:
    """Average [N] of values [N] under a Gaussian with σ = N/60 points: symmetric, so that it does not lag behind."""
    if len(values) < 30:
        return values
    sigma = len(values) / 60
    reach = np.arange(-int(3 * sigma) - 1, int(3 * sigma) + 2)
    kernel = np.exp(-0.5 * (reach / sigma) ** 2)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def draw_curves(workdir: Workdir | str | os.PathLike) -> Path | None:
    """Draws metrics.jsonl and eval.jsonl of a run's folder to its `curves.png`; None if there is nothing to draw."""
    workdir = workdir if isinstance(workdir, Workdir) else Workdir(Path(workdir))
    series, evals = read_series(workdir), read_evals(workdir)
    planned = panels(series, evals)
    if not planned:
        return None
    columns = min(3, len(planned))
    rows = -(-len(planned) // columns)
    figure = Figure(figsize=(5.0 * columns, 3.5 * rows), dpi=110)
    FigureCanvasAgg(figure)
    last = max(1.0, *(steps[-1] for steps, _ in series.values()), *(rs[-1]["step"] for rs in evals.values()))
    legend_rows = 1
    for index, panel in enumerate(planned):
        axes = figure.add_subplot(rows, columns, index + 1)
        legend_rows = max(legend_rows, _draw_panel(axes, panel, series, held_out(panel, evals)))
        axes.set_xlim(-0.03 * last, 1.03 * last)
    _set_margins(figure, rows, columns, legend_rows)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_atomic(workdir.curves, buffer.getvalue())
    return workdir.curves


def _set_margins(figure: Figure, rows: int, columns: int, legend_rows: int) -> None:
    """The same margins around each panel, in inches. A layout that measures what is drawn takes as long as drawing."""
    width, height = figure.get_size_inches()
    left, right, top, bottom = 0.75, 0.2, 0.6 + (legend_rows - 1) * LEGEND_ROW / 72, 0.5
    inner_width, inner_height = width / columns - left - right, height / rows - top - bottom
    figure.subplots_adjust(
        left=left / width, right=1 - right / width, top=1 - top / height, bottom=bottom / height,
        wspace=(left + right) / inner_width, hspace=(top + bottom) / inner_height,
    )  # fmt: skip


def _draw_panel(axes: Axes, panel: Panel, series: Series, evals: Evals) -> int:
    """Draws a panel, and gives the rows of its legend."""
    axes.set_xlabel("step", fontsize=9)
    axes.set_ylabel(panel.unit, fontsize=9)
    axes.tick_params(labelsize=8, color="#999999")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
    axes.grid(True, color="#e8e8e8", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if panel.stacked:
        _draw_stack(axes, panel, series)
    else:
        for (metric, label), color in zip(panel.lines, _colors(len(evals)), strict=False):
            _draw_line(axes, *series[metric], label, color, panel.log)
        _draw_held_out(axes, panel.held_out, evals)
    if panel.log and axes.has_data():
        axes.set_yscale("log")
    if panel.percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -0.01), min(high, 1.01))
    handles, labels = axes.get_legend_handles_labels()
    legend = len(labels) > 1 or bool(evals)
    columns = _columns(labels[:6])
    rows = math.ceil(len(labels[:6]) / columns) if legend else 0
    pad = 12 + LEGEND_ROW * rows if legend else 8
    axes.set_title(panel.title, loc="left", fontweight="bold", fontsize=11, pad=pad)
    if legend:
        axes.legend(
            handles[:6], labels[:6], loc="lower left", bbox_to_anchor=(-0.02, 0.99), ncols=columns,
            frameon=False, fontsize=8, borderaxespad=0.2, handlelength=1.2, columnspacing=1.0, handletextpad=0.4,
        )  # fmt: skip
    return rows


def _columns(labels: Sequence[str]) -> int:
    """Of a legend that is no wider than its panel: all in one row, or as many as fit where all are as long as the
    longest."""
    widths = [len(label) + HANDLE for label in labels]
    return max(len(labels), 1) if sum(widths) <= WIDTH else max(WIDTH // max(widths), 1)


def _draw_line(axes: Axes, steps: np.ndarray, values: np.ndarray, label: str, color: str, log: bool) -> None:
    if log:  # A difference of exactly zero has no place on this axis.
        steps, values = steps[values > 0], values[values > 0]
    smoothed = smooth(values)
    if smoothed is not values:
        axes.plot(steps, values, color=color, alpha=0.22, linewidth=0.8)
    marker = "o" if len(values) < 15 else None
    axes.plot(steps, smoothed, color=color, linewidth=1.8, label=label, marker=marker, markersize=3)


def held_out(panel: Panel, evals: Evals) -> Evals:
    """The records that a panel draws: those with its measure."""
    found = {name: [r for r in records if panel.held_out in r] for name, records in evals.items()}
    return {name: records for name, records in found.items() if records}


def _draw_held_out(axes: Axes, measure: str, evals: Evals) -> None:
    for (name, records), color in zip(evals.items(), COLORS * 9, strict=False):
        steps = [r["step"] for r in records]
        values = np.array([r[measure] for r in records], float)
        intervals = [interval(r, measure) for r in records]
        low, high = np.array(intervals, float).T
        axes.fill_between(steps, low, high, color=color, alpha=0.15, linewidth=0)
        errors = np.maximum(0.0, [values - low, high - values])
        axes.errorbar(steps, values, errors, color=color, linewidth=1.8, elinewidth=1.0, capsize=2, marker="o",
                      markersize=4, label=label_of(name, measure))  # fmt: skip


def label_of(name: str, measure: str) -> str:
    """What a data set's line is called: by the measure, where the panel's title does not say it."""
    return f"{name} (held out, 95%)" if measure == "pass@1" else f"{measure}, {name} (held out, 95%)"


def interval(record: Mapping[str, Any], measure: str = "pass@1") -> tuple[float, float]:
    """The 95% interval of a record's measure; the value itself where none is given."""
    bounds = record.get(f"{measure}_ci95")
    if isinstance(bounds, list) and len(bounds) == 2 and all(isinstance(b, int | float) for b in bounds):
        return bounds[0], bounds[1]
    return record[measure], record[measure]


def _draw_stack(axes: Axes, panel: Panel, series: Series) -> None:
    # Phases may be absent in some steps (no evaluation of the reference, say): on the union of steps, 0 there.
    steps = np.unique(np.concatenate([series[metric][0] for metric, _ in panel.lines]))
    heights = []
    for metric, _ in panel.lines:
        at, values = series[metric]
        full = np.zeros(len(steps))
        full[np.searchsorted(steps, at)] = values
        heights.append(full)
    colors = [COLORS[i] if label != "other" else "#bbbbbb" for i, (_, label) in enumerate(panel.lines)]
    axes.stackplot(steps, heights, labels=[label for _, label in panel.lines], colors=colors, alpha=0.85, step="mid")
    # One step of compilation or of evaluation must not flatten all others.
    top = np.sum(heights, axis=0)
    if len(top) >= 10 and top.max() > 3 * np.percentile(top, 95):
        axes.set_ylim(0, 1.3 * np.percentile(top, 95))


def _colors(skip: int) -> tuple[str, ...]:
    """Colours for lines beside `skip` held-out ones."""
    return (COLORS * 9)[skip:]


def _thin(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Averages neighbours so that at most `MAX_POINTS` points are left."""
    if len(steps) <= MAX_POINTS:
        return steps, values
    edges = np.linspace(0, len(steps), MAX_POINTS + 1).astype(int)[:-1]
    counts = np.diff(np.append(edges, len(steps)))
    return np.add.reduceat(steps, edges) / counts, np.add.reduceat(values, edges) / counts
