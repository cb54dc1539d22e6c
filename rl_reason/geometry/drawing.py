"""A drawing of a statement's figure: what is given in black, what was added in blue, what was proved in red."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rl_reason.geometry.statements import Statement

Points = Mapping[str, Sequence[float]]
GIVEN, ADDED, PROVED = "black", "tab:blue", "tab:red"


def draw(statement: Statement, figure: Mapping, file: Path, added: Collection[str] = ()) -> None:
    """Writes a picture.

    Args:
        statement: its free points are joined, and its goal is marked.
        figure: `engine.Result.figure`.
        file: of a kind that matplotlib writes, as its ending says.
        added: points of auxiliary clauses.
    """
    draw_grid([(statement, figure, added)], 1, file)


def draw_grid(figures: Sequence[tuple[Statement, Mapping, Collection[str]]], columns: int, file: Path) -> None:
    """Writes a picture of several figures.

    Args:
        figures: (statement, figure, added) of each, as in `draw`.
        columns: of the grid.
        file: as in `draw`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = -(-len(figures) // columns)
    canvas = Figure(figsize=(6 * columns, 6 * rows), layout="constrained")
    FigureCanvasAgg(canvas)
    for place, (statement, figure, added) in enumerate(figures, 1):
        _draw_on(canvas.add_subplot(rows, columns, place), statement, figure, added)
    canvas.savefig(file, dpi=100)


def _draw_on(axes: Any, statement: Statement, figure: Mapping, added: Collection[str]) -> None:
    points = figure["points"]
    axes.set_aspect("equal")
    axes.axis("off")
    for clause in statement.clauses:
        if clause.constructions[0].definition.kind == "free" and len(clause.points) > 1:
            color = ADDED if set(clause.points) & set(added) else GIVEN
            _segments(axes, points, zip(clause.points, (*clause.points[1:], clause.points[0]), strict=True), color)
    for premise in figure["premises"]:
        _draw_predicate(axes, points, premise, ADDED if set(premise[1:]) & set(added) else GIVEN)
    _draw_predicate(axes, points, statement.goal, PROVED)
    # Circles may reach far beyond what is shown.
    places = np.array(list(points.values()))
    middle, reach = (places.max(0) + places.min(0)) / 2, 0.6 * max(np.ptp(places, axis=0).max(), 1e-9)
    axes.set_xlim(middle[0] - reach, middle[0] + reach)
    axes.set_ylim(middle[1] - reach, middle[1] + reach)
    for name, (x, y) in points.items():
        color = ADDED if name in added else GIVEN
        axes.plot(x, y, "o", color=color, markersize=4, zorder=3)
        axes.annotate(name, (x, y), xytext=(4, 4), textcoords="offset points", fontsize=11, color=color, zorder=4)
    axes.set_title(" ".join(statement.goal), color=PROVED)


def _draw_predicate(axes: Any, points: Points, predicate: Sequence[str], color: str) -> None:
    name, *args = predicate
    if name in ("coll", "midp"):
        ends = sorted(args, key=lambda point: tuple(points[point]))
        _segments(axes, points, [(ends[0], ends[-1])], color)
    elif name == "cong" and color != PROVED and (shared := _center(args)):
        on = next(point for point in args if point != shared)
        _circle(axes, points[shared], math.dist(points[shared], points[on]), color)
    elif name in ("para", "perp", "eqangle", "eqratio", "cong"):
        _segments(axes, points, zip(args[::2], args[1::2], strict=True), color)
    elif name == "circle":
        _circle(axes, points[args[0]], math.dist(points[args[0]], points[args[1]]), color)
    elif name == "cyclic":
        at, *others = (np.array(points[point]) for point in args[:3])
        # The center is as far from one of the points as from two others.
        equations = 2 * np.array([other - at for other in others])
        center = np.linalg.solve(equations, [other @ other - at @ at for other in others])
        _circle(axes, center.tolist(), math.dist(center, at), color)
    elif name.startswith(("simtri", "contri")):
        for a, b, c in (args[:3], args[3:]):
            _segments(axes, points, [(a, b), (b, c), (c, a)], color)


def _center(args: Sequence[str]) -> str | None:
    """The end that two segments share."""
    shared = set(args[:2]) & set(args[2:])
    return shared.pop() if len(shared) == 1 else None


def _segments(axes: Any, points: Points, pairs: Iterable[tuple[str, str]], color: str) -> None:
    width = 2.0 if color == PROVED else 0.8
    for a, b in pairs:
        axes.plot(*zip(points[a], points[b], strict=True), color=color, linewidth=width)


def _circle(axes: Any, center: Sequence[float], radius: float, color: str) -> None:
    from matplotlib.patches import Circle

    width = 2.0 if color == PROVED else 0.8
    axes.add_patch(Circle((center[0], center[1]), radius, fill=False, color=color, linewidth=width))
