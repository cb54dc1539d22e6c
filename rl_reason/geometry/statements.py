"""Statements in AlphaGeometry's language, read strictly: `a b c = triangle a b c; d = foot d a b c ? perp a d b c`.

Clauses, separated by `;`, make new points, each by a construction or where two loci meet (`,`); behind `?` stands what
is to be proved. The new points may be left out among a construction's arguments. A point may be fixed by its
coordinates, as in `a@1.5_-2`. Reading evaluates nothing, and takes time linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rl_reason.errors import nearest
from rl_reason.geometry.constructions import DEFINITIONS, GOALS, Definition

LONGEST = 5000
"""Characters of a statement, or of auxiliary clauses."""
MOST_CLAUSES = 16
"""Auxiliary clauses that are added at once: the depth of the paper's search."""
_POINT = re.compile(r"[a-z][a-z0-9_]{0,7}")
_FIXED = re.compile(r"(?P<name>[a-z][a-z0-9_]{0,7})@-?[0-9]{1,4}(?:\.[0-9]{1,20})?_-?[0-9]{1,4}(?:\.[0-9]{1,20})?")
_DEGREES = re.compile(r"-?[0-9]{1,3}")


class StatementError(ValueError):
    """A text that is no statement, or no clauses: what was found, and what was expected, in one line."""


@dataclass(frozen=True)
class Construction:
    """One construction with all of its arguments, the new points among them."""

    name: str
    arguments: tuple[str, ...]

    @property
    def definition(self) -> Definition:
        return DEFINITIONS[self.name]

    @property
    def made(self) -> tuple[str, ...]:
        """The new points."""
        return tuple(self.arguments[at] for at in self.definition.new)

    def __str__(self) -> str:
        return " ".join((self.name, *self.arguments))


@dataclass(frozen=True)
class Clause:
    """New points, and how they are constructed."""

    points: tuple[str, ...]
    constructions: tuple[Construction, ...]
    places: tuple[str, ...] = ()
    """The points as written, where some have coordinates."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """Of all constructions, the new points among them."""
        return tuple(word for construction in self.constructions for word in construction.arguments)

    def __str__(self) -> str:
        return f"{' '.join(self.places or self.points)} = {', '.join(map(str, self.constructions))}"


@dataclass(frozen=True)
class Statement:
    """What is constructed, and what is to be proved of it."""

    clauses: tuple[Clause, ...]
    goal: tuple[str, ...]
    """A predicate's name and its points; empty where nothing is asked."""

    @property
    def points(self) -> tuple[str, ...]:
        return tuple(point for clause in self.clauses for point in clause.points)

    def plus(self, clauses: Sequence[Clause]) -> Statement:
        """With auxiliary clauses, before what is asked."""
        return replace(self, clauses=(*self.clauses, *clauses))

    def __str__(self) -> str:
        """The text in one form: single blanks, and all arguments written out."""
        return f"{'; '.join(map(str, self.clauses))} ? {' '.join(self.goal)}".strip()


def parse_statement(text: str) -> Statement:
    """Raises `StatementError`."""
    _check_length(text)
    premises, mark, goal = text.partition("?")
    if not mark or not goal.strip():
        raise StatementError(f"no goal in {_short(text)}; expected CLAUSES ? GOAL")
    clauses = _parse_clauses(premises, (), auxiliary=False)
    return Statement(clauses, _parse_goal(goal, {point for clause in clauses for point in clause.points}))


def parse_auxiliary(text: str, statement: Statement) -> tuple[Clause, ...]:
    """Clauses to be added to a statement, by whoever wrote them.

    Beside what is asked of a statement's clauses, they cannot assert anything: each makes points that are new, at a
    place that it determines at most once, and no construction is allowed that takes something of older points for
    granted. So what follows with them follows without them.

    Raises:
        StatementError: they do not.
    """
    _check_length(text)
    clauses = _parse_clauses(text.strip().removesuffix(";"), statement.points, auxiliary=True)
    if len(clauses) > MOST_CLAUSES:
        raise StatementError(f"{len(clauses)} clauses; expected at most {MOST_CLAUSES}")
    return clauses


def _check_length(text: str) -> None:
    if len(text) > LONGEST:
        raise StatementError(f"{len(text)} characters; expected at most {LONGEST}")


def _parse_clauses(text: str, points: Sequence[str], auxiliary: bool) -> tuple[Clause, ...]:
    known = set(points)
    clauses = []
    for part in text.split(";"):
        clause = _parse_clause(part, known, auxiliary)
        known.update(clause.points)
        clauses.append(clause)
    return tuple(clauses)


def _parse_clause(text: str, known: set[str], auxiliary: bool) -> Clause:
    left, mark, right = text.partition("=")
    places = tuple(left.split())
    if not mark or not places:
        raise StatementError(f"clause {_short(text)}: expected POINTS = CONSTRUCTION")
    points = []
    for place in places:
        match = _POINT.fullmatch(place) or (None if auxiliary else _FIXED.fullmatch(place))
        if match is None:
            raise StatementError(f"clause {_short(text)}: {_short(place)} is no point; expected a name such as a or b1")
        point = match[0].partition("@")[0]
        if point in known or point in points:
            raise StatementError(f"clause {_short(text)}: the point {point} is defined twice")
        points.append(point)
    constructions = tuple(_parse_construction(part, points, known, text) for part in right.split(","))
    _check_meeting(constructions, text, auxiliary)
    # In the order in which the construction makes them: `c a b = triangle a b c`.
    made = constructions[0].made
    places = tuple(places[points.index(point)] for point in made)
    return Clause(made, constructions, places if places != made else ())


def _parse_construction(text: str, points: Sequence[str], known: set[str], clause: str) -> Construction:
    place = f"clause {_short(clause)}"
    name, *arguments = text.split() or [""]
    if name not in DEFINITIONS:
        raise StatementError(f"{place}: unknown construction {_short(name)}{nearest(name[:40], DEFINITIONS)}")
    definition = DEFINITIONS[name]
    new = definition.new
    expected = len(definition.arguments)
    if len(arguments) == expected - len(new) and len(points) == len(new):
        for at, point in zip(new, points, strict=True):
            arguments.insert(at, point)
    if len(arguments) != expected:
        raise StatementError(f"{place}: {name} has {len(arguments)} arguments; expected {definition}")
    if sorted(arguments[at] for at in new) != sorted(points):
        raise StatementError(f"{place}: {name} does not make the points of the clause; expected {definition}")
    for at, (argument, form) in enumerate(zip(arguments, definition.arguments, strict=True)):
        if form == "#":
            if not _DEGREES.fullmatch(argument):
                raise StatementError(f"{place}: {_short(argument)}: expected whole degrees")
        elif at not in new and argument not in known:
            raise StatementError(f"{place}: {_short(argument)} is used before it is defined")
    return Construction(name, tuple(arguments))


def _check_meeting(constructions: Sequence[Construction], clause: str, auxiliary: bool) -> None:
    """Refuses what would place a point twice. That both places are one would be taken for granted."""
    kinds = [construction.definition.kind for construction in constructions]
    if len(kinds) > 1 and (set(kinds) != {"locus"} or len(kinds) > 2):
        raise StatementError(f"clause {_short(clause)}: expected one construction, or two lines or circles that meet")
    if auxiliary and "presuming" in kinds:
        name = constructions[0].name
        raise StatementError(f"clause {_short(clause)}: {name} takes something for granted; expected another one")


def _parse_goal(text: str, known: set[str]) -> tuple[str, ...]:
    name, *points = text.split()
    if name not in GOALS:
        raise StatementError(f"goal {_short(text)}: unknown predicate {_short(name)}{nearest(name[:40], GOALS)}")
    if len(points) != GOALS[name]:
        raise StatementError(f"goal {_short(text)}: {name} has {len(points)} points; expected {GOALS[name]}")
    for point in points:
        if point not in known:
            raise StatementError(f"goal {_short(text)}: the point {_short(point)} is not defined")
    if name in ("coll", "cyclic") and len(set(points)) < len(points):
        raise StatementError(f"goal {_short(text)}: {name} of one point twice; expected points that differ")
    return (name, *points)


def _short(text: str) -> str:
    text = " ".join(text[:200].split())
    return repr(text if len(text) <= 60 else f"{text[:60]}…")
