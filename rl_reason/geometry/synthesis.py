"""Statements whose proof needs an auxiliary point (Nature 2024, "Synthetic theorems and proofs generation").

    clauses at random                               a figure
    what is true of it in numbers                   (`conclusions`)
    ... and the engine does not deduce              questions, where it is true in another drawing, too
    more clauses at random                          of a question that is answered with them, those that the
                                                    proof goes through are the auxiliary construction

A statement is what its goal's own points rely on; clauses of the figure that only the proof goes through are auxiliary
too. None of them is superfluous.
"""

from __future__ import annotations

import collections
import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rl_reason.geometry import engine
from rl_reason.geometry.conclusions import Goal, conclusions
from rl_reason.geometry.constructions import DEFINITIONS
from rl_reason.geometry.figures import Figure
from rl_reason.geometry.statements import Clause, Construction, Statement, parse_auxiliary, parse_statement
from rl_reason.geometry.writing import NAMES, fingerprint, in_order

STARTS = {"triangle": 8, "quadrangle": 2, "r_triangle": 1, "iso_triangle": 1, "trapezoid": 1}
"""First construction of a figure → weight."""
STEPS = {
    "midpoint": 10, "mirror": 6, "parallelogram": 6, "intersection_ll": 4, "intersection_lp": 3, "psquare": 2,
    "foot": 1, "circle": 1, "reflect": 1, "orthocenter": 1, "incenter": 1, "eq_triangle": 1, "on_circum": 1,
}  # fmt: skip
"""The others. A figure has a few kinds of them only: points that are made alike have more to do with each other. By far
the most questions are left open by what moves points along with others, and by midpoints."""
EXTRA = {
    "midpoint": 5, "mirror": 4, "intersection_ll": 3, "parallelogram": 3, "foot": 2, "intersection_lp": 2, "circle": 1,
    "reflect": 1,
}  # fmt: skip
"""Those that are tried as auxiliary."""
KINDS = (1, 3)
"""Kinds of steps of a figure, at least and at most."""
ROUND = 0.7
"""Share of figures, on a triangle, whose clauses are said of each of its corners in turn."""
DRAWS = 60
"""Clauses that are drawn for a figure, at most: many have no drawing."""
TRIES = 24
"""Auxiliary constructions that are tried on a figure's questions."""
MOST_TRIED = 2
"""Clauses of one."""
MOST_QUESTIONS = 20
"""Of a figure, drawn where there are more."""
MOST_PROBLEMS = 8
"""Of a figure."""
MOST_AUXILIARY = 4
Clauses = tuple[Clause, ...]
Counts = collections.Counter[str]


def make_problems(seed: int, index: int, least: int, most: int, seconds: float) -> dict[str, Any]:
    """The problems of one random figure, the same on each machine where no limit strikes; for `runtime.workers`.

    Args:
        seed: of all figures.
        index: which of them.
        least: its clauses are so many.
        most: and no more than these.
        seconds: for each question to the engine.

    Returns:
        `problems`, (statement, auxiliary clauses) as texts; `counts`, name → number; and `failures`, a line for each
        time that the engine failed or was too slow.
    """
    rng, made = random.Random(f"synthesis/{seed}/{index}"), _Made()
    try:
        _make(rng, rng.randint(least, most), seconds, made)
    except TimeoutError as error:
        made.counts["timeouts"] += 1
        made.failures.append(str(error))
    except engine.EngineError as error:
        made.counts["failures"] += 1
        made.failures.append(str(error))
    return {"problems": made.problems, "counts": dict(made.counts), "failures": made.failures}


@dataclass
class _Made:
    """What `make_problems` returns; what was found before an error stays."""

    problems: list[tuple[str, str]] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    failures: list[str] = field(default_factory=list)


def _make(rng: random.Random, size: int, seconds: float, made: _Made) -> None:
    """Adds to what is made."""
    problems, counts = made.problems, made.counts
    figure = _draw_figure(rng, size)
    if figure is None:
        counts["not drawn"] += 1
        return
    goals = conclusions([figure.drawing])
    proved = figure.deduce(goals, seconds)
    counts.update({"figures": 1, "conclusions": len(goals), "proved alone": len(proved)})
    questions = _not_by_chance(figure, [goal for goal in goals if goal not in proved], rng)
    counts["questions"] += len(questions)
    asked = rng.sample(questions, min(len(questions), MOST_QUESTIONS))
    seen: set[str] = set()
    for _ in range(TRIES):
        if not asked or len(problems) == MOST_PROBLEMS:
            return
        larger = _with_extra(figure, rng)
        counts["tries"] += 1
        answered = larger.deduce(asked, seconds)
        for goal in (goal for goal in asked if goal in answered):
            counts["answered"] += 1
            premises, auxiliary = _split(larger, goal, answered[goal], seconds)
            key = fingerprint(premises, goal)
            if not 0 < len(auxiliary) <= MOST_AUXILIARY or key in seen or len(problems) == MOST_PROBLEMS:
                continue
            seen.add(key)
            problem = _checked(Statement(premises, goal), auxiliary, seconds, made)
            if problem:
                problems.append(problem)
        asked = [goal for goal in asked if goal not in answered]


def _draw_figure(rng: random.Random, count: int) -> Figure | None:
    """Of so many clauses, or a few more; None where no more could be drawn."""
    figure = Figure(rng.getrandbits(32))
    kinds = rng.choices(list(STEPS), list(STEPS.values()), k=rng.randint(*KINDS))
    steps = {name: STEPS[name] for name in kinds}
    is_round = rng.random() < ROUND
    start = _random_clause({"triangle": 1} if is_round else STARTS, (), rng)
    assert start is not None
    figure.add(start)
    turn = dict(zip(start.points, (*start.points[1:], start.points[0]), strict=True)) if is_round else {}
    for _ in range(DRAWS):
        if len(figure.clauses) >= count:
            return figure
        clause = _random_clause(steps, figure.points, rng)
        if clause is not None and figure.add(clause):
            _turn(figure, clause, turn)
    return None


def _not_by_chance(figure: Figure, goals: list[Goal], rng: random.Random) -> list[Goal]:
    """Those of the goals that hold in another drawing, too; none where there is no other."""
    if not goals:
        return []
    again = Figure(rng.getrandbits(32))
    if not all(again.add(clause) for clause in figure.clauses):
        return []
    return [goal for goal in conclusions([figure.drawing, again.drawing]) if goal in goals]


def _turn(figure: Figure, clause: Clause, turn: dict[str, str]) -> None:
    """Says the same of the other two corners, where all points of the clause turn with them."""
    images = [clause]
    for _ in range(2):
        image = _image(images[-1], turn, figure.points)
        if image is None or not figure.add(image):
            return
        images.append(image)
    for one, other in zip(images, (*images[1:], images[0]), strict=True):
        turn.update(zip(one.points, other.points, strict=True))


def _image(clause: Clause, turn: dict[str, str], points: Collection[str]) -> Clause | None:
    """The clause of the points that its points turn into; None where one does not."""
    names = dict(zip(clause.points, _new_names(points), strict=False)) | turn
    construction = clause.constructions[0]
    if not set(construction.arguments) <= names.keys():
        return None
    arguments = tuple(names[point] for point in construction.arguments)
    return Clause(tuple(names[p] for p in clause.points), (Construction(construction.name, arguments),))


def _random_clause(weights: Mapping[str, float], points: Sequence[str], rng: random.Random) -> Clause | None:
    """One of these constructions, of random points; None where there are too few."""
    (name,) = rng.choices(list(weights), list(weights.values()))
    definition = DEFINITIONS[name]
    made = _new_names(points)[: len(definition.new)]
    if len(definition.arguments) - len(made) > len(points):
        return None
    arguments = rng.sample(points, len(definition.arguments) - len(made))
    for place, point in zip(definition.new, made, strict=True):
        arguments.insert(place, point)
    return Clause(tuple(made), (Construction(name, tuple(arguments)),))


def _new_names(points: Collection[str]) -> list[str]:
    return [name for name in NAMES if name not in points]


def _with_extra(figure: Figure, rng: random.Random) -> Figure:
    """With auxiliary clauses."""
    larger, count = figure.part(figure.clauses), len(figure.clauses) + rng.randint(1, MOST_TRIED)
    for _ in range(DRAWS):
        if len(larger.clauses) == count:
            break
        clause = _random_clause(EXTRA, larger.points, rng)
        if clause is not None:
            larger.add(clause)
    return larger


def _split(figure: Figure, goal: Goal, proof: Collection[str], seconds: float) -> tuple[Clauses, Clauses]:
    """The clauses that the goal's points rely on, and the others that its proof needs.

    Args:
        figure: in which the goal is deduced.
        proof: points that its proof goes through.
    """
    premises = _relied_on(figure.clauses, goal[1:])
    auxiliary = tuple(clause for clause in _relied_on(figure.clauses, proof) if clause not in premises)
    for clause in reversed(auxiliary):  # A proof may go through more than it needs.
        fewer = tuple(other for other in auxiliary if other != clause)
        used = {point for other in fewer for point in other.arguments}
        if not used & set(clause.points) and figure.part({*premises, *fewer}).deduce([goal], seconds):
            auxiliary = fewer
    return premises, auxiliary


def _relied_on(clauses: Clauses, points: Iterable[str]) -> Clauses:
    """Those that make these points, and those that they rely on."""
    wanted, found = set(points), set()
    for clause in reversed(clauses):
        if wanted & set(clause.points):
            found.add(clause)
            wanted.update(clause.arguments)
    return tuple(clause for clause in clauses if clause in found)


def _checked(statement: Statement, auxiliary: Clauses, seconds: float, made: _Made) -> tuple[str, str] | None:
    """The problem as it is written; None where the engine, asked as the reward `geometry` asks it, proves the statement
    alone, or has no proof that stands its check even with the auxiliary clauses."""
    statement, auxiliary = in_order(statement, auxiliary)
    text, clauses = str(statement), "; ".join(map(str, auxiliary))
    statement = parse_statement(text)
    if (alone := engine.decide(statement, seconds)).result != "no proof":
        _refuse(f"alone {alone.result}", text, alone, made)
        return None
    if (helped := engine.prove(statement.plus(parse_auxiliary(clauses, statement)), seconds)).result != "solved":
        _refuse(helped.result, f"{text}, with {clauses}", helped, made)
        return None
    made.counts["made"] += 1
    return text, clauses


def _refuse(end: str, text: str, result: engine.Result, made: _Made) -> None:
    made.counts[f"refused: {end}"] += 1
    if result.message:
        made.failures.append(f"{end}: {result.message}: {text}")


make_problems.prepare = engine.load_package  # type: ignore[attr-defined]
