"""Figures in numbers that grow clause by clause, and what the engine deduces of them.

Without the proofs that `engine.prove` writes: the engine's program is asked for many goals at once.
"""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Collection, Sequence
from typing import Any

from rl_reason.geometry import engine
from rl_reason.geometry.conclusions import Goal, normal
from rl_reason.geometry.statements import Clause

_TRIES = 3
"""Drawings of a clause, until its points stand neither too close nor too far off."""
_Drawn = tuple[Sequence[Any], Sequence[Any]]
"""Points, and what is assumed of them, in the package's own form."""


class Figure:
    """Clauses, and a drawing of them.

    Args:
        seed: of the random places of its points.
    """

    def __init__(self, seed: int):
        engine.load_package()
        import numpy as np

        self._random = np.random.default_rng(seed)
        self._clauses: dict[Clause, _Drawn] = {}
        self._setup = _setup(())

    @property
    def clauses(self) -> tuple[Clause, ...]:
        return tuple(self._clauses)

    @property
    def points(self) -> tuple[str, ...]:
        return tuple(point for clause in self._clauses for point in clause.points)

    @property
    def drawing(self) -> dict[str, list[float]]:
        """Name → [x, y]."""
        return {str(point.name): [float(point.num.x), float(point.num.y)] for point in self._setup.points}

    def add(self, clause: Clause) -> bool:
        """Whether the clause could be drawn. Where not, all stays as it was."""
        drawn = _draw(self._setup, clause, self._random)
        if drawn is None:
            return False
        self._clauses[clause] = drawn
        self._setup = _setup(self._clauses.values())
        return True

    def part(self, clauses: Collection[Clause]) -> Figure:
        """The same drawing, of some of the clauses only."""
        smaller = copy.copy(self)
        smaller._clauses = {clause: drawn for clause, drawn in self._clauses.items() if clause in clauses}
        smaller._setup = _setup(smaller._clauses.values())
        return smaller

    def deduce(self, goals: Sequence[Goal], seconds: float) -> dict[Goal, frozenset[str]]:
        """Those of the goals that the engine proves, in their normal form, with the points that the proof has.

        Args:
            goals: true of the drawing.
            seconds: for all of them.

        Raises:
            TimeoutError: it needs more.
            EngineError: it fails.
        """
        from py_yuclid.yuclid_adapter import _write_yuclid_setup

        lines = [*_write_yuclid_setup(self._setup), *(f"prove {' '.join(goal)}" for goal in goals)]
        said = engine.run_program(lines, seconds)
        wanted = {normal(goal) for goal in goals}
        found: dict[Goal, frozenset[str]] = {}
        for deduction in said["deductions_for_goal"]:
            for told in deduction["assertions"]:
                goal = normal((told["name"], *told["points"]))
                if goal in wanted:
                    found.setdefault(goal, frozenset(deduction["point_deps"]))
        return found


def _setup(parts: Collection[_Drawn]) -> Any:
    """The package's own form of a figure."""
    from newclid.problem import ProblemSetup

    points, assumptions = (tuple(itertools.chain(*told)) for told in zip(*parts, strict=True)) if parts else ((), ())
    return ProblemSetup(points=points, assumptions=assumptions, goals=())


def _draw(setup: Any, clause: Clause, random: Any) -> _Drawn | None:
    """The points of a clause beside what is drawn already, and what is assumed of them; None where that fails."""
    from newclid.jgex.clause import JGEXClause
    from newclid.jgex.errors import JGEXConstructionError
    from newclid.jgex.to_newclid import add_clause_to_problem
    from newclid.problem import nc_problem_is_valid

    (written,) = JGEXClause.from_str(engine.written(clause))
    try:
        larger, made = add_clause_to_problem(setup, written, _definitions(), random, _TRIES)
    except (JGEXConstructionError, *engine.NO_FIGURE):
        return None
    points = [point for point in larger.points if str(point.name) in clause.points]
    assumptions = made.to_assumptions()
    return (points, assumptions) if nc_problem_is_valid(_setup([(larger.points, assumptions)])) else None


@functools.cache
def _definitions() -> Any:
    from newclid.jgex.constructions import ALL_JGEX_CONSTRUCTIONS
    from newclid.jgex.definition import JGEXDefinition

    return JGEXDefinition.to_dict(ALL_JGEX_CONSTRUCTIONS)
