"""A page put together: template, style and scripts of `assets/`, plotly, and the data of runs in compressed blocks."""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import json
import os
import shlex
import zlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import plotly.offline

from rl_reason.runtime import curves
from rl_reason.runtime.report import differences, tables
from rl_reason.runtime.report.folders import Run, read_runs
from rl_reason.runtime.report.samples import read_samples
from rl_reason.runtime.workdir import Workdir, write_atomic

SCRIPTS = ("dom", "data", "overview", "charts", "curves", "timing", "tokens", "group", "samples", "settings", "main")
"""Of `assets/`, in their order; all of them are one script."""


def write_report(workdir: Workdir | str | os.PathLike) -> Path:
    """Writes `report.html` of a run's folder and returns its path; works while the run goes on.

    Raises `UsageError` if the folder holds no run.
    """
    workdir = workdir if isinstance(workdir, Workdir) else Workdir(Path(workdir))
    write_atomic(workdir.report, make_page(read_runs([workdir.path])))
    return workdir.report


def make_page(runs: Sequence[Run]) -> str:
    """The page of one run, or of several side by side."""
    samples = read_samples(runs)
    blocks = {"samples": block(_as_json(samples.to_json()))}
    blocks |= {f"tokens-{i}": block(tokens) for i, tokens in enumerate(samples.token_blocks())}
    blocks["plotly"] = _plotly()
    script = "".join(_asset(f"{name}.js") for name in SCRIPTS)
    parts = {
        "@@NAME@@": html.escape(" · ".join(run.name for run in runs)),
        "@@DIGEST@@": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "@@STYLE@@": _asset("style.css"),
        "@@DATA@@": embed(describe(runs)),
        "@@BLOCKS@@": "\n".join(_element(name, text) for name, text in blocks.items()),
        "@@SCRIPT@@": script,
    }
    page = _asset("page.html")
    # Split and not replaced one after the other: a text that is put in may hold the other marks.
    for mark in parts:
        page = page.replace(mark, f"\0{mark}\0")
    return "".join(parts.get(piece, piece) for piece in page.split("\0"))


def describe(runs: Sequence[Run]) -> dict[str, Any]:
    """All that the page shows of runs, but for their samples: JSON values."""
    metrics = {name for run in runs for name in run.series}
    evals: dict[str, list] = {}
    for run in runs:
        for name, records in run.evals.items():
            evals.setdefault(name, []).extend(records)
    return {
        "runs": [_describe(run) for run in runs],
        "panels": [vars(panel) for panel in curves.panels(metrics, evals)],
        "phases": curves.PHASES,
        "between": curves.BETWEEN,
        "settings": differences.compare_configs(runs),
    }


def _describe(run: Run) -> dict[str, Any]:
    return {
        "name": run.name,
        "kind": run.kind,
        "recipe": str(run.config.get("recipe", "")),
        "tiles": tables.tiles(run),
        "evaluations": tables.evaluations(run),
        "stages": run.stages,
        "corrections": tables.corrections(run),
        "command": shlex.join(map(str, run.environment.get("command") or [])),
        "environment": [row for row in differences.flat(run.environment).items() if row[0] != "command"],
        "metrics": {name: [steps.tolist(), values.tolist()] for name, (steps, values) in run.series.items()},
        "evals": tables.held_out(run),
    }


def embed(data: Any) -> str:
    """JSON that may stand in a script element: whatever it holds, "</script>" and "<!--" do not appear in it."""
    text = json.dumps(data, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@functools.cache
def _plotly() -> str:
    return block(plotly.offline.get_plotlyjs().encode())


def block(data: bytes) -> str:
    """Bytes as a page holds them: gzip, then base64, in which no element can end or begin."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return base64.b64encode(packer.compress(data) + packer.flush()).decode()


def _as_json(data: Any) -> bytes:
    # A half of a character, which JSON may hold, has no bytes.
    return json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _element(name: str, text: str) -> str:
    return f'<script type="application/octet-stream" id="block-{name}">{text}</script>'


def _asset(name: str) -> str:
    return (resources.files("rl_reason.runtime.report") / "assets" / name).read_text(encoding="utf-8")
