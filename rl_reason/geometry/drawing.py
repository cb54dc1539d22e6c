"""A drawing of a statement's figure: what is given in black, what was added in blue, what was proved in red.

Names stand where lines and circles leave room. A circle that is larger than all points together is cut at the frame.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rl_reason.geometry.statements import Statement

Points = Mapping[str, Sequence[float]]
GIVEN, ADDED, PROVED = "black", "tab:blue", "tab:red"
MARGIN, LABEL = 0.14, 0.075
"""Around what is drawn, and from a point to the middle of its name, as shares of half the frame."""
DIRECTIONS = 24
"""In which a name may stand from its point."""


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
        axes = canvas.add_subplot(rows, columns, place)
        _Sketch(axes, figure["points"]).draw(statement, figure["premises"], added)
    canvas.savefig(file, dpi=100)


@dataclass
class _Sketch:
    """One figure, and the lines and circles that its names have to leave free."""

    axes: Any
    points: Points
    segments: list[tuple[Sequence[float], Sequence[float]]] = field(default_factory=list)
    circles: list[tuple[Sequence[float], float]] = field(default_factory=list)
    """Center and radius."""

    def draw(self, statement: Statement, premises: Iterable[Sequence[str]], added: Collection[str]) -> None:
        self.axes.set_aspect("equal")
        self.axes.axis("off")
        for clause in statement.clauses:
            if clause.constructions[0].definition.kind == "free" and len(clause.points) > 1:
                color = ADDED if set(clause.points) & set(added) else GIVEN
                self._segments(zip(clause.points, (*clause.points[1:], clause.points[0]), strict=True), color)
        for premise in premises:
            self._predicate(premise, ADDED if set(premise[1:]) & set(added) else GIVEN)
        self._predicate(statement.goal, PROVED)
        reach = self._frame()
        taken = [np.array(place) for place in self.points.values()]
        for name, (x, y) in self.points.items():
            color = ADDED if name in added else GIVEN
            self.axes.plot(x, y, "o", color=color, markersize=4, zorder=3)
            place = self._free_place(name, taken, reach)
            taken.append(place)
            self.axes.text(*place, name, fontsize=11, color=color, ha="center", va="center", zorder=4)
        self.axes.set_title(" ".join(statement.goal), color=PROVED)

    def _frame(self) -> float:
        """Shows all points and circles but large ones. Half of the frame's side."""
        places = np.array(list(self.points.values()))
        span = max(np.ptp(places, axis=0).max(), 1e-9)
        shown = [np.array(center) + side * radius for center, radius in self.circles if radius <= span
                 for side in (-1, 1)]  # fmt: skip
        places = np.array([*places, *shown])
        middle, reach = (places.max(0) + places.min(0)) / 2, max(np.ptp(places, axis=0).max(), 1e-9) / 2
        reach *= 1 + MARGIN
        self.axes.set_xlim(middle[0] - reach, middle[0] + reach)
        self.axes.set_ylim(middle[1] - reach, middle[1] + reach)
        return reach

    def _free_place(self, name: str, taken: Sequence[np.ndarray], reach: float) -> np.ndarray:
        """Where a point's name stands: off lines, circles, and what is taken; away from the middle of the figure."""
        at, away = np.array(self.points[name]), LABEL * reach
        outward = at - np.mean(list(self.points.values()), axis=0)
        outward = outward / max(np.linalg.norm(outward), 1e-9)
        wide = 1 + 0.2 * (len(name) - 1)
        best, place = -math.inf, at
        for angle in np.linspace(0, 2 * np.pi, DIRECTIONS, endpoint=False):
            direction = np.array([np.cos(angle), np.sin(angle)])
            tried = at + away * direction * (wide, 1)
            free = [_to_segment(tried, *np.array(ends)) for ends in self.segments]
            free += [abs(math.dist(tried, center) - radius) for center, radius in self.circles]
            free += [0.6 * math.dist(tried, other) for other in taken if other is not at]
            # Room beyond the name's own size is worth nothing.
            score = min([away, *free]) + 0.15 * away * (direction @ outward)
            if score > best:
                best, place = score, tried
        return place

    def _predicate(self, predicate: Sequence[str], color: str) -> None:
        points, (name, *args) = self.points, predicate
        if name in ("coll", "midp"):
            ends = sorted(args, key=lambda point: tuple(points[point]))
            self._segments([(ends[0], ends[-1])], color)
        elif name == "cong" and color != PROVED and (shared := _center(args)):
            on = next(point for point in args if point != shared)
            self._circle(points[shared], math.dist(points[shared], points[on]), color)
        elif name in ("para", "perp", "eqangle", "eqratio", "cong"):
            self._segments(zip(args[::2], args[1::2], strict=True), color)
        elif name == "circle":
            self._circle(points[args[0]], math.dist(points[args[0]], points[args[1]]), color)
        elif name == "cyclic":
            at, *others = (np.array(points[point]) for point in args[:3])
            # The center is as far from one of the points as from two others.
            equations = 2 * np.array([other - at for other in others])
            center = np.linalg.solve(equations, [other @ other - at @ at for other in others])
            self._circle(center.tolist(), math.dist(center, at), color)
        elif name.startswith(("simtri", "contri")):
            for a, b, c in (args[:3], args[3:]):
                self._segments([(a, b), (b, c), (c, a)], color)

    def _segments(self, pairs: Iterable[tuple[str, str]], color: str) -> None:
        for a, b in pairs:
            ends = self.points[a], self.points[b]
            self.axes.plot(*zip(*ends, strict=True), color=color, linewidth=_width(color))
            self.segments.append(ends)

    def _circle(self, center: Sequence[float], radius: float, color: str) -> None:
        from matplotlib.patches import Circle

        self.axes.add_patch(Circle((center[0], center[1]), radius, fill=False, color=color, linewidth=_width(color)))
        self.circles.append((center, radius))


def _width(color: str) -> float:
    return 2.0 if color == PROVED else 0.8


def _center(args: Sequence[str]) -> str | None:
    """The end that two segments share."""
    shared = set(args[:2]) & set(args[2:])
    return shared.pop() if len(shared) == 1 else None


def _to_segment(place: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """The distance to the nearest point of a segment."""
    along = b - a
    share = np.clip((place - a) @ along / max(along @ along, 1e-18), 0, 1)
    return math.dist(place, a + share * along)
