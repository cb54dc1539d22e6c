"""What stands in tiles and tables: figures at a glance, evaluations before and after, stages, corrections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rl_reason.runtime import curves
from rl_reason.runtime.report.folders import Run
from rl_reason.runtime.report.samples import text_of

_SMOOTHED = (
    ("reward/mean", "reward", ".3g"),
    ("pass@1/train", "pass@1, training", ".1%"),
    ("tokens/completion", "completion tokens", ".0f"),
    ("kl/reference", "KL to the reference", ".3g"),
    ("entropy", "entropy", ".3g"),
    ("preference/accuracy", "preferred", ".1%"),
    ("accuracy/token", "token accuracy", ".1%"),
)
"""(metric, label, format) of tiles that tell where a run began and where it is now."""

_SHARES = ("format", "greedy", "truncated", "unparseable", "timeout", "crash", "reflection/rate", "correction/rate")
"""Measures of an evaluation that are shares, beside those at k."""


def tiles(run: Run) -> list[list[str]]:
    """(label, value before, value now) of a run, the most telling first; "" where there is one value only."""
    made: list[list[str]] = []
    for name, records in run.evals.items():
        first, last = records[0], records[-1]
        measure, form = ("pass@1", ".1%") if "pass@1" in first else ("perplexity", ".4g")
        values = [f"{record[measure]:{form}}" for record in (first, last) if measure in record]
        made.append([f"{measure}, {name}", *_from_to(values, len(records) > 1)])
    shown = [row for row in _SMOOTHED if row[0] in run.series]
    if "reward/mean" not in run.series and "loss" in run.series:
        shown.insert(0, ("loss", "loss", ".3g"))
    for metric, label, form in shown:
        smoothed = curves.smooth(run.series[metric][1])
        made.append([label, *_from_to([f"{smoothed[0]:{form}}", f"{smoothed[-1]:{form}}"], len(smoothed) > 1)])
    last_step = max((int(steps[-1]) for steps, _ in run.series.values()), default=0)
    if last_step:
        # A pipeline's steps are those of its stages.
        of = f" of {run.config['steps']}" if run.kind == "run" and "steps" in run.config else ""
        made.append(["steps", "", f"{last_step}{of}"])
    if "time/step_s" in run.series:
        seconds = run.series["time/step_s"][1]
        made.append(["median step", "", f"{np.median(seconds):.3g} s"])
    return made


def _from_to(values: Sequence[str], is_change: bool) -> list[str]:
    return [values[0], values[-1]] if is_change else ["", values[-1]]


def evaluations(run: Run) -> list[list[str]]:
    """Rows (data set, measure, before, after, change) from the first and the last evaluation of each data set."""
    rows = []
    for name, records in run.evals.items():
        first = records[0]
        last = records[-1] if len(records) > 1 else {}
        for measure in dict.fromkeys(["step", "n", *first, *last]):
            before, after = _value(first, measure), _value(last, measure)
            if before is None and after is None:
                continue
            share = measure.startswith(("pass@", "maj@", "best@")) or measure in _SHARES
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
    if f"{measure}_ci95" in record:
        low, high = curves.interval(record, measure)
        text += f" [{low:.1%}, {high:.1%}]" if share else f" [{low:.4g}, {high:.4g}]"
    return text


def held_out(run: Run) -> dict[str, dict[str, list[list[float]]]]:
    """Data set → measure → rows (step, value, low, high), of all measures that a panel may draw."""
    made: dict[str, dict[str, list[list[float]]]] = {}
    for name, records in run.evals.items():
        for record in records:
            for measure in record:
                if measure.endswith("_ci95") or measure == "step" or _value(record, measure) is None:
                    continue
                row = [record["step"], record[measure], *curves.interval(record, measure)]
                made.setdefault(name, {}).setdefault(measure, []).append(row)
    return made


def corrections(run: Run) -> list[dict[str, Any]] | None:
    """Completions that correct themselves, cut into pieces (kind, text) of which those of kind "wrong" and "right" are
    the equations; None for a run that does not look for them."""
    if run.corrections is None:
        return None
    made = []
    for record in run.corrections:
        (a, b), (c, d), text = record["wrong"], record["right"], record["completion"]
        pieces = [["", text[:a]], ["wrong", text[a:b]], ["", text[b:c]], ["right", text[c:d]], ["", text[d:]]]
        shown = {name: record[name] for name in ("step", "id", "answer", "verdict")}
        made.append(shown | {"prompt": text_of(record["prompt"]), "pieces": pieces})
    return made
