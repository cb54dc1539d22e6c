"""One problem in many writings: what is the same in all of them, and one that stands for them.

Names of points do not matter, nor the order of clauses that do not rely on each other, nor that of arguments that mean
the same in either order.
"""

from __future__ import annotations

import hashlib
import random
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from rl_reason.geometry.conclusions import ALL_ALIKE, SIDES_ALIKE, Goal, normal
from rl_reason.geometry.statements import Clause, Construction, Statement

NAMES = (*string.ascii_lowercase, *(f"{letter}1" for letter in string.ascii_lowercase))
"""Of points, in their order."""
Fact = tuple[str, list[tuple[str, str]]]
"""What is said, and the points that it is said of, each with its role."""
_LIKE = {
    "triangle": "a a a", "quadrangle": "a a a a", "iso_triangle": "a b b", "r_triangle": "a b b",
    "midpoint": "x a a", "foot": "x a b b", "reflect": "x a b b", "circle": "x a a a", "orthocenter": "x a a a",
    "incenter": "x a a a", "circumcenter": "x a a a", "on_line": "x a a", "on_pline": "x a b b", "on_tline": "x a b b",
    "on_bline": "x a a", "on_circum": "x a a a", "parallelogram": "a b a x", "on_dia": "x a a",
}  # fmt: skip
"""Construction → its arguments, those with one letter alike: in either order they mean the same. Of another
construction none are."""
_MEETINGS = {
    "intersection_ll": (("on_line", (0, 1, 2)), ("on_line", (0, 3, 4))),
    "intersection_lp": (("on_line", (0, 1, 2)), ("on_pline", (0, 3, 4, 5))),
    "intersection_lt": (("on_line", (0, 1, 2)), ("on_tline", (0, 3, 4, 5))),
}
"""Constructions that are two lines."""


def fingerprint(clauses: Iterable[Clause], goal: Goal = ()) -> str:
    """The same of all writings of these clauses and this goal. That it is another for other ones is nearly sure, not
    certain: points are told apart by what is said of them and their neighbours.

    Args:
        clauses: of a statement, or more.
        goal: or its first word only.
    """
    facts = [fact for clause in clauses for construction in clause.constructions for fact in _facts(construction)]
    facts += _asked(goal)
    colors = dict.fromkeys((point for _, said in facts for point, _ in said), "")
    for _ in range(4):
        around: dict[str, list] = {point: [] for point in colors}
        for name, said in facts:
            for point, role in said:
                around[point].append((name, role, sorted((other, colors[which]) for which, other in said)))
        colors = {point: _digest(colors[point], sorted(told)) for point, told in around.items()}
    return _digest(sorted((name, sorted((role, colors[point]) for point, role in said)) for name, said in facts))


def _facts(construction: Construction) -> list[Fact]:
    arguments = construction.arguments
    if construction.name in _MEETINGS:
        parts = _MEETINGS[construction.name]
        return [_fact(name, [arguments[place] for place in places]) for name, places in parts]
    return [_fact(construction.name, arguments)]


def _asked(goal: Goal) -> list[Fact]:
    """What a goal says, as constructions do."""
    kind, points = f"? {''.join(goal[:1])}", goal[1:]
    if goal and goal[0] in ALL_ALIKE:
        return [(kind, [(point, "a") for point in points])]
    if goal and goal[0] in SIDES_ALIKE:
        sides = [
            (f"{kind} side", [(one, "a"), (other, "a")]) for one, other in zip(points[::2], points[1::2], strict=True)
        ]
        return [(kind, [(point, "a") for point in points]), *sides]
    return [(kind, [(point, str(place)) for place, point in enumerate(points)])]


def _fact(name: str, arguments: Sequence[str]) -> Fact:
    roles = _LIKE[name].split() if name in _LIKE else [str(place) for place in range(len(arguments))]
    return name, list(zip(arguments, roles, strict=True))


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def in_order(statement: Statement, auxiliary: Sequence[Clause]) -> tuple[Statement, tuple[Clause, ...]]:
    """The writing whose points are named in their order, arguments that are alike and the goal's points sorted."""
    names = dict(zip(statement.plus(auxiliary).points, NAMES, strict=False))
    rename = lambda clauses: tuple(_renamed(clause, names) for clause in clauses)  # noqa: E731
    goal = normal((statement.goal[0], *(names[point] for point in statement.goal[1:])))
    return replace(statement, clauses=rename(statement.clauses), goal=goal), rename(auxiliary)


def rewritten(
    statement: Statement, auxiliary: Sequence[Clause], rng: random.Random
) -> tuple[Statement, tuple[Clause, ...]]:
    """Another writing: clauses in another order, alike points of the first constructions in another one."""
    clauses, more = (_shuffled(part, rng) for part in (statement.clauses, auxiliary))
    return in_order(replace(statement, clauses=clauses), more)


def _shuffled(clauses: Sequence[Clause], rng: random.Random) -> tuple[Clause, ...]:
    """In a random one of the orders in which each clause stands behind those that it relies on."""
    left, made = list(clauses), []
    while left:
        missing = {point for clause in left for point in clause.points}
        ready = [clause for clause in left if not missing.difference(clause.points) & set(clause.arguments)]
        clause = rng.choice(ready)
        left.remove(clause)
        made.append(_turned(clause, rng))
    return tuple(made)


def _turned(clause: Clause, rng: random.Random) -> Clause:
    """With the points of a construction that makes all of its points, where these are alike, in another order."""
    construction = clause.constructions[0]
    if len(set(_LIKE.get(construction.name, "a b").split())) > 1 or set(construction.arguments) != set(clause.points):
        return clause
    points = tuple(rng.sample(clause.points, len(clause.points)))
    return Clause(points, (replace(construction, arguments=points),))


def _renamed(clause: Clause, names: Mapping[str, str]) -> Clause:
    made = tuple(names[point] for point in clause.points)
    constructions = tuple(
        replace(one, arguments=with_alike_sorted(one.name, [names.get(word, word) for word in one.arguments]))
        for one in clause.constructions
    )
    return Clause(made, constructions)


def with_alike_sorted(name: str, arguments: Sequence[str]) -> tuple[str, ...]:
    """A construction's arguments, of which those that mean the same in either order stand in one order."""
    if name not in _LIKE:
        return tuple(arguments)
    roles = _LIKE[name].split()
    pairs = sorted(zip(roles, arguments, strict=True))
    alike = {role: iter([word for other, word in pairs if other == role]) for role in roles}
    return tuple(next(alike[role]) for role in roles)
