"""From the JSON files of single runs to the table of RESULTS.md. Pure functions of text and numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.workloads import LENGTHS, WORKLOADS

OURS = "rl_reason"
SYSTEMS = (OURS, "trl", "tunix")
"""In the order of rows, and of turns."""

COLUMNS = (
    "workload",
    "lengths",
    "system",
    "s/step",
    "sampling",
    "scoring",
    "update",
    "min–max",
    "tokens/s",
    "peak memory",
    "first step",
    "time ÷ ours",
    "memory ÷ ours",
)
INTRODUCTION = """# The same GRPO step on several systems

Written by `python -m benchmarks.peers` from `benchmarks/results/*.json`; not by hand. What the workloads are stands in
`benchmarks/workloads.py`. Systems ran in turns, each run in a process of its own. Seconds are medians of the steps of
all runs, without the first step of each, which compiles; sampling, scoring (by the reference) and update are its parts.
Tokens are those of completions, end tokens counted; with drawn lengths each system draws its own, so steps differ in
them. Memory is the high-water mark of the process (without rl_reason's two workers for rewards), or of the GPU. In
rl_reason scoring runs while rewards are graded, which here take no time; what they take is part of the update.
"""


def run_file(folder: Path, run: Mapping) -> Path:
    """Where the JSON of a run is kept. `run` has `machine`, `workload`, `lengths`, `system` and `round`."""
    key = (slug(machine_title(run["machine"])), run["workload"], run["lengths"], run["system"], str(run["round"]))
    return folder / ("__".join(key) + ".json")


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def machine_title(machine: Mapping) -> str:
    """One line for a machine: `gpu` if it has one, `cpu`, `cores`, `memory_bytes`."""
    cpu = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB"
    return f"{machine['gpu']}; {cpu}" if machine.get("gpu") else cpu


def read_runs(folder: Path) -> list[dict]:
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))]


def page(runs: Iterable[Mapping]) -> str:
    """The text of RESULTS.md: a section for each machine."""
    machines: dict[str, list[Mapping]] = {}
    for run in runs:
        machines.setdefault(machine_title(run["machine"]), []).append(run)
    return "\n".join([INTRODUCTION, *(section(title, machines[title]) for title in sorted(machines))])


def section(title: str, runs: Sequence[Mapping]) -> str:
    dates = sorted({run["date"] for run in runs})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    lines = [f"## {title}", "", f"Measured {when}.", "", *_versions(runs), ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(row) + " |" for row in rows(runs)]
    return "\n".join(lines) + "\n"


def _versions(runs: Sequence[Mapping]) -> list[str]:
    found: dict[str, set[str]] = {}
    for run in runs:
        if run.get("versions"):
            text = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
            found.setdefault(run["system"], set()).add(text)
    return [f"- {system}: {'; '.join(sorted(found[system]))}" for system in _in_order(found, SYSTEMS)]


def _in_order(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Known names in their order, then the others."""
    order = {name: i for i, name in enumerate(known)}
    return sorted(names, key=lambda name: (order.get(name, len(order)), name))


def rows(runs: Sequence[Mapping]) -> list[list[str]]:
    """The cells of a machine's table."""
    groups: dict[tuple[str, str, str], list[Mapping]] = {}
    for run in runs:
        groups.setdefault((run["workload"], run["lengths"], run["system"]), []).append(run)
    made = []
    for workload in _in_order({key[0] for key in groups}, WORKLOADS):
        for lengths in _in_order({key[1] for key in groups if key[0] == workload}, LENGTHS):
            systems = _in_order({key[2] for key in groups if key[:2] == (workload, lengths)}, SYSTEMS)
            sums = {system: summary(groups[workload, lengths, system]) for system in systems}
            made += [[workload, lengths, system, *_cells(sums[system], sums.get(OURS))] for system in systems]
    return made


def summary(runs: Sequence[Mapping]) -> dict:
    """What the runs of one row come down to; numbers that are not known are None.

    Returns:
        total_s, sample_s, score_s, update_s: medians over the steps of all runs, without the first of each.
        min_s, max_s: of those steps. tokens_per_s: of all of them. first_step_s: the median of the runs.
        peak_bytes: the largest. failed: reasons of runs that failed, each once.
    """
    good = [run for run in runs if not run.get("failed")]
    steps = [step for run in good for step in run["steps"][1:]]
    totals = [step["total_s"] for step in steps]
    made: dict = {"failed": list(dict.fromkeys(run["failed"] for run in runs if run.get("failed")))}
    for name in ("total_s", "sample_s", "score_s", "update_s"):
        made[name] = median(step[name] for step in steps) if steps else None
    made["min_s"], made["max_s"] = (min(totals), max(totals)) if steps else (None, None)
    made["tokens_per_s"] = sum(step["completion_tokens"] for step in steps) / sum(totals) if steps else None
    made["first_step_s"] = median(run["first_step_s"] for run in good) if good else None
    peaks = [run.get("peak_device_bytes") or run["peak_rss_bytes"] for run in good]
    made["peak_bytes"] = max(peaks) if peaks else None
    return made


def _cells(row: Mapping, ours: Mapping | None) -> list[str]:
    reasons = "; ".join(row["failed"]).replace("|", "/")
    if row["first_step_s"] is None:
        return [f"failed: {reasons}", *[""] * (len(COLUMNS) - 4)]
    ratio = lambda key: row[key] / ours[key] if ours and row[key] and ours[key] else None  # noqa: E731
    spread = f"{seconds(row['min_s'])}–{seconds(row['max_s'])}" if row["min_s"] is not None else "–"
    return [
        seconds(row["total_s"]) + (f" (some runs failed: {reasons})" if reasons else ""),
        *(seconds(row[name]) for name in ("sample_s", "score_s", "update_s")),
        spread,
        _number(row["tokens_per_s"], ".0f"),
        _number(row["peak_bytes"] and row["peak_bytes"] / 2**30, ".1f", " GiB"),
        seconds(row["first_step_s"]),
        _number(ratio("total_s"), ".2f"),
        _number(ratio("peak_bytes"), ".2f"),
    ]


def seconds(value: float | None) -> str:
    """Three significant digits below 100."""
    return "–" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "–" if value is None else f"{value:{form}}{unit}"
