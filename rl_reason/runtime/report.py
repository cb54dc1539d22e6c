"""The page of a run: one HTML file with everything in it, that needs neither a server nor a network."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import plotly.offline

from rl_reason.errors import UsageError
from rl_reason.runtime import curves
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.workdir import Workdir, write_atomic


def write_report(workdir: Workdir | str | os.PathLike) -> Path:
    """Writes `report.html` of a run's folder and returns its path; works while the run goes on.

    Raises `UsageError` if the folder holds no run.
    """
    workdir = workdir if isinstance(workdir, Workdir) else Workdir(Path(workdir))
    config = _read_json(workdir.config)
    if config is None:
        raise UsageError(f"{workdir.path}: not the folder of a run: expected a config.json in it")
    series, evals = curves.read_series(workdir), curves.read_evals(workdir)
    name = workdir.path.resolve().name
    data = {
        "summary": _summary(config, series, evals),
        "charts": [_chart(panel, series, evals) for panel in curves.panels(series, evals)],
        "evaluations": _evaluations(evals),
        "stages": json.loads(workdir.stages.read_text()) if workdir.stages.exists() else [],
        "config": _flat(config),
        "environment": _flat(_read_json(workdir.environment) or {}),
        "corrections": _corrections(workdir.corrections),
        "samples": [_sample(record, config) for record in read_jsonl(workdir.samples)],
    }
    page = (resources.files("rl_reason.runtime") / "report_page.html").read_text(encoding="utf-8")
    # Split and not replaced one after the other: a text that is put in may hold the other marks.
    parts = {"@@NAME@@": html.escape(name), "@@DATA@@": embed(data), "@@PLOTLY@@": plotly.offline.get_plotlyjs()}
    for mark in parts:
        page = page.replace(mark, f"\0{mark}\0")
    write_atomic(workdir.report, "".join(parts.get(piece, piece) for piece in page.split("\0")))
    return workdir.report


def embed(data: Any) -> str:
    """JSON that may stand in a script element: whatever it holds, "</script>" and "<!--" do not appear in it."""
    text = json.dumps(data, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _summary(config: Mapping, series: curves.Series, evals: Mapping[str, Sequence[Mapping]]) -> list[list[str]]:
    """(label, value) tiles at the top of the page."""
    last = max((int(steps[-1]) for steps, _ in series.values()), default=0)
    tiles = [["steps", f"{last} of {config['steps']}" if "steps" in config else str(last)]]
    for name, records in evals.items():
        first, final = records[0], records[-1]
        measure, form = ("pass@1", ".1%") if "pass@1" in first else ("perplexity", ".4g")
        value = f"{first[measure]:{form}}"
        tiles.append([f"{measure}, {name}", f"{value} → {final[measure]:{form}}" if len(records) > 1 else value])
    for metric, label, form in (
        ("reward/mean", "reward", ".3g"), ("tokens/completion", "completion tokens", ".0f"), ("loss", "loss", ".3g"),
    ):  # fmt: skip
        if metric in series and (metric != "loss" or "reward/mean" not in series):
            values = curves.smooth(series[metric][1])
            tiles.append([label, f"{values[0]:{form}} → {values[-1]:{form}}"])
    if "time/step_s" in series:
        tiles.append(["median step", f"{np.median(series['time/step_s'][1]):.3g} s"])
    return tiles


def _chart(panel: curves.Panel, series: curves.Series, evals: Mapping[str, Sequence[Mapping]]) -> dict[str, Any]:
    """A plotly figure's `data` and `layout`."""
    traces: list[dict[str, Any]] = []
    shown = curves.held_out(panel, evals)
    colors = curves.COLORS * 9
    if panel.stacked:
        for (metric, label), color in zip(panel.lines, colors, strict=False):
            traces.append(_stacked(*series[metric], label, color))
    else:
        for (metric, label), color in zip(panel.lines, colors[len(shown) :], strict=False):
            traces += _line(*series[metric], label, color)
    for (name, records), color in zip(shown.items(), colors, strict=False):
        traces.append(_held_out(name, panel.held_out, records, color))
    layout: dict[str, Any] = {
        "title": {"text": panel.title},
        "xaxis": {"title": {"text": "step"}},
        "yaxis": {"title": {"text": panel.unit}},
        "showlegend": sum(trace.get("showlegend", True) for trace in traces) > 1,
    }
    if panel.log:
        layout["yaxis"]["type"] = "log"
    if panel.percent:
        layout["yaxis"]["tickformat"] = ".0%"
    return {"data": traces, "layout": layout}


def _line(steps: np.ndarray, values: np.ndarray, label: str, color: str) -> list[dict[str, Any]]:
    smoothed = curves.smooth(values)
    x, text = steps.tolist(), html.escape(label)
    traces = [{"x": x, "y": smoothed.tolist(), "name": text, "line": {"color": color, "width": 2}, "mode": "lines"}]
    if len(steps) < 15:
        traces[0]["mode"] = "lines+markers"
    if smoothed is not values:
        faint = {"x": x, "y": values.tolist(), "line": {"color": color, "width": 1}, "opacity": 0.25, "mode": "lines"}
        traces.insert(0, faint | {"showlegend": False, "hoverinfo": "skip"})
    return traces


def _stacked(steps: np.ndarray, values: np.ndarray, label: str, color: str) -> dict[str, Any]:
    color = "#bbbbbb" if label == "other" else color
    line = {"width": 0, "color": color}
    look = {"name": label, "stackgroup": "time", "line": line, "mode": "lines"}
    return {"x": steps.tolist(), "y": values.tolist(), **look}


def _held_out(name: str, measure: str, records: Sequence[Mapping], color: str) -> dict[str, Any]:
    values = [record[measure] for record in records]
    bounds = [curves.interval(record, measure) for record in records]
    return {
        "x": [record["step"] for record in records],
        "y": values,
        "name": html.escape(curves.label_of(name, measure)),
        "mode": "lines+markers",
        "line": {"color": color, "width": 2},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [high - value for value, (_, high) in zip(values, bounds, strict=True)],
            "arrayminus": [value - low for value, (low, _) in zip(values, bounds, strict=True)],
            "thickness": 1,
            "width": 3,
        },
    }


def _evaluations(evals: Mapping[str, Sequence[Mapping]]) -> list[list[str]]:
    """Rows (data set, measure, before, after, change) from the first and the last evaluation of each data set."""
    rows = []
    for name, records in evals.items():
        first = records[0]
        last = records[-1] if len(records) > 1 else {}
        for measure in dict.fromkeys(["step", "n", *first, *last]):
            before, after = _value(first, measure), _value(last, measure)
            if before is None and after is None:
                continue
            share = measure.startswith(("pass@", "maj@")) or measure in ("format", "greedy")
            change = ""
            if before is not None and after is not None and measure not in ("n", "step"):
                change = f"{100 * (after - before):+.1f} points" if share else f"{after - before:+.4g}"
            rows.append([name, measure, _cell(first, measure, share), _cell(last, measure, share), change])
    return rows


def _value(record: Mapping, measure: str) -> float | None:
    value = record.get(measure)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _cell(record: Mapping, measure: str, share: bool) -> str:
    value = _value(record, measure)
    if value is None:
        return "–"
    text = f"{value:.1%}" if share else f"{value:.4g}"
    if measure == "pass@1" and "pass@1_ci95" in record:
        low, high = curves.interval(record)
        text += f" [{low:.1%}, {high:.1%}]"
    return text


def _sample(record: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows of a line of samples.jsonl; `length` is in tokens where the line says so, else characters."""
    completion = str(record.get("completion", ""))
    tokens = record.get("tokens", record.get("length"))
    tokens = len(tokens) if isinstance(tokens, list) else tokens
    rewards = record.get("rewards")
    return {
        "step": record.get("step"),
        "prompt": _text(record.get("prompt", "")),
        "completion": completion,
        "answer": _text(record.get("answer", "")),
        "rewards": rewards,
        "reward": _total(record, rewards, config),
        "advantage": record.get("advantage"),
        "length": tokens if isinstance(tokens, int | float) else len(completion),
        "right": _right(record, rewards),
    }


def _corrections(path: Path) -> list[dict[str, Any]] | None:
    """Completions that correct themselves, cut into pieces (kind, text) of which those of kind "wrong" and "right" are
    the equations; None for a run that does not look for them."""
    if not path.exists():
        return None
    made = []
    for record in read_jsonl(path):
        (a, b), (c, d), text = record["wrong"], record["right"], record["completion"]
        pieces = [["", text[:a]], ["wrong", text[a:b]], ["", text[b:c]], ["right", text[c:d]], ["", text[d:]]]
        shown = {name: record[name] for name in ("step", "id", "answer", "verdict")}
        made.append(shown | {"prompt": _text(record["prompt"]), "pieces": pieces})
    return made


def _total(record: Mapping, rewards: Any, config: Mapping) -> float | None:
    """A line's `reward`; else the sum of its parts by the weights of the config."""
    if isinstance(record.get("reward"), int | float):
        return record["reward"]
    if isinstance(rewards, int | float):
        return rewards
    if not isinstance(rewards, Mapping):
        return None
    setting = config.get("reward") or {}
    weights = dict(zip(setting.get("names", ()), setting.get("weights", ()), strict=False))
    parts = [weights.get(name, 1.0) * value for name, value in rewards.items() if isinstance(value, int | float)]
    return float(sum(parts)) if parts else None


def _right(record: Mapping, rewards: Any) -> bool | None:
    if isinstance(record.get("correct"), bool):
        return record["correct"]
    if isinstance(record.get("verdict"), str):
        return record["verdict"] == "correct"
    accuracy = rewards.get("accuracy") if isinstance(rewards, Mapping) else None
    return accuracy > 0.5 if isinstance(accuracy, int | float) else None


def _text(value: Any) -> str:
    """A prompt may be chat messages."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> list[list[str]]:
    rows: list[list[str]] = []
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append([f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)])
    return rows


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
