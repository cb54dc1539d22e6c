"""`python -m benchmarks.growth`: seconds and memory of a step as completions, groups and the vocabulary grow.

Each point is a run of `benchmarks.step` in a process of its own and leaves a file in benchmarks/results/growth; the
picture is drawn from them. Points that are there already are not run again, but with `--again`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import machine, processes, workloads
from benchmarks.peers import results
from rl_reason.errors import run_command
from rl_reason.runtime.curves import COLORS
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.progress import Progress
from rl_reason.runtime.workdir import write_atomic

HERE = Path(__file__).parent
RESULTS, PICTURE = HERE / "results" / "growth", HERE / "growth.png"
PHASES = ("sample", "score", "update")

FLAGS: Spec = {
    "again": (bool, False, "run points that are there already"),
    "draw": (bool, False, "run nothing; draw the points that are there"),
}


@dataclass(frozen=True)
class Axis:
    """What grows, with everything else as it is."""

    key: str
    """Of `workloads.Workload`."""
    label: str
    base: str
    values: tuple[int, ...]
    lengths: tuple[workloads.Lengths, ...]
    micro: int
    """Rows whose activations exist at the same time."""


LIMITS = (128, 256, 512, 1024, 2048, 4096)
AXES = (
    Axis("completion", "greatest completion, tokens", "tiny:prompts=1", LIMITS, ("fixed", "short"), 1),
    Axis("group", "completions of a prompt", "tiny:prompts=1", (4, 8, 16, 32, 64), ("fixed",), 4),
    Axis("vocab", "vocabulary", "tiny:prompts=1", (1024, 8192, 32768, 151936), ("fixed",), 8),
)  # fmt: skip


@dataclass(frozen=True)
class Point:
    axis: Axis
    lengths: workloads.Lengths
    value: int

    @property
    def file(self) -> Path:
        return RESULTS / f"{self.axis.key}-{self.lengths}-{self.value}.json"

    @property
    def workload(self) -> str:
        return f"{self.axis.base}:{self.axis.key}={self.value}"


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    points = [Point(axis, kind, value) for axis in AXES for kind in axis.lengths for value in axis.values]
    if not flags["draw"]:
        measure([point for point in points if flags["again"] or not point.file.is_file()])
    draw({point: json.loads(point.file.read_text()) for point in points if point.file.is_file()})
    print(f"{PICTURE} is drawn")


def measure(points: Sequence[Point]) -> None:
    """Runs `benchmarks.step` at each point."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    title = results.machine_title(machine.describe())
    with Progress(len(points), title="growth") as progress:
        for done, point in enumerate(points, start=1):
            progress.note(f"{point.workload}, {point.lengths} lengths")
            made = point.file.with_suffix(".part")
            command = [sys.executable, "-m", "benchmarks.step", f"--workload={point.workload}"]
            # Drawn lengths need more shapes, each compiled when it first comes.
            steps = 3 if point.lengths == "fixed" else 7
            command += [f"--lengths={point.lengths}", f"--micro={point.axis.micro}"]
            command += [f"--steps={steps}", f"--json={made}"]
            processes.call(command, progress, memory=0.9, minutes=60)
            run = {**json.loads(made.read_text()), "machine": title}
            made.unlink()
            write_atomic(point.file, json.dumps(run, indent=2) + "\n")
            progress.update(done)


def draw(runs: Mapping[Point, Mapping]) -> None:
    """Above the seconds of each phase, below the memory; a column for each axis."""
    figure = Figure(figsize=(4.2 * len(AXES), 7), layout="constrained", dpi=120)
    for column, axis in enumerate(AXES):
        seconds, memory = (figure.add_subplot(2, len(AXES), 1 + column + row * len(AXES)) for row in (0, 1))
        for kind in axis.lengths:
            found = [(point.value, run) for point, run in runs.items() if (point.axis, point.lengths) == (axis, kind)]
            _draw_lines(seconds, memory, kind, sorted(found, key=lambda one: one[0]))
        for plot in (seconds, memory):
            plot.set_xscale("log", base=2)
            plot.set_xticks(axis.values, [f"{value:,}" for value in axis.values], rotation=30)
            plot.minorticks_off()
            plot.grid(alpha=0.3)
        seconds.set_yscale("log")
        seconds.set_ylabel("seconds of a step")
        memory.set_ylim(0, 1.1 * memory.get_ylim()[1])
        memory.set_ylabel("peak memory of the process, GiB")
        memory.set_xlabel(axis.label)
        seconds.set_title(f"{axis.base}, micro-batch {axis.micro}", fontsize=10)
    shown = [plot.get_legend_handles_labels() for plot in figure.axes[:2]]
    handles, labels = ([*of_seconds, *of_memory] for of_seconds, of_memory in zip(*shown, strict=True))
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    machines = sorted({run["machine"] for run in runs.values()})
    figure.suptitle(f"A GRPO step as it grows — {'; '.join(machines)}", fontsize=11)
    FigureCanvasAgg(figure).print_png(PICTURE)


def _draw_lines(seconds: Axes, memory: Axes, kind: str, found: Sequence[tuple[int, Mapping]]) -> None:
    """The lines of one kind of lengths; those of fixed lengths are solid."""
    style, label = ("-", "") if kind == "fixed" else ("--", f", about {workloads.SHORT} tokens drawn")
    values = [value for value, _ in found]
    for phase, color in zip(PHASES, COLORS, strict=False):
        made = [median(step[f"{phase}_s"] for step in run["steps"][1:]) for _, run in found]
        seconds.plot(values, made, style, color=color, marker="o", markersize=3, label=phase + label)
    peaks = [(run["peak_device_bytes"] or run["peak_rss_bytes"]) / 2**30 for _, run in found]
    memory.plot(values, peaks, style, color=COLORS[6], marker="o", markersize=3, label="peak memory" + label)


if __name__ == "__main__":
    run_command(main)
