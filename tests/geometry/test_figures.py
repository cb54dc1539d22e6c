"""Figures that grow, what the engine deduces of them at once, and the problems that are made of them."""

import pytest

from rl_reason.geometry import engine, synthesis
from rl_reason.geometry.conclusions import conclusions, normal
from rl_reason.geometry.figures import Figure
from rl_reason.geometry.statements import Statement, parse_auxiliary, parse_statement
from rl_reason.rewards.geometry import geometry

pytestmark = pytest.mark.skipif(not engine.is_installed(), reason=f"not installed: {engine.PACKAGES}")

# The middles of a complete quadrangle's three diagonals stand on a line (Newton and Gauss): the engine does not see it.
DIAGONALS = parse_statement(
    "a b c d = quadrangle a b c d; e = intersection_ll a b c d; f = intersection_ll a d b c; g = midpoint a c;"
    "h = midpoint b d; i = midpoint e f ? coll g h i"
)

FIGURE = (5, 64)
"""Seed and number of one that has a problem."""


def drawn(statement, seed=1):
    figure = Figure(seed)
    for clause in statement.clauses:
        assert figure.add(clause)
    return figure


def test_many_goals_at_once_as_each_by_itself():
    figure = drawn(DIAGONALS)
    goals = conclusions([figure.drawing, drawn(DIAGONALS, seed=2).drawing])
    assert normal(DIAGONALS.goal) in goals and len(goals) > 8
    proved = figure.deduce(goals, 20)
    assert set(goals) - set(proved) == {DIAGONALS.goal}
    for goal in (goals[0], goals[-1], DIAGONALS.goal):
        assert (engine.prove(Statement(DIAGONALS.clauses, goal), 20).result == "solved") == (goal in proved)
    assert proved["cong", "a", "g", "c", "g"] == {"a", "c", "g"}


def test_a_part_is_the_same_drawing():
    figure = drawn(DIAGONALS)
    part = figure.part(figure.clauses[:2])
    assert part.points == ("a", "b", "c", "d", "e")
    assert part.drawing == {name: figure.drawing[name] for name in part.points}
    (again,) = parse_auxiliary("x = foot x e a c", DIAGONALS)
    assert part.add(again) and part.points[-1] == "x" and "x" not in figure.points
    assert not part.add(parse_auxiliary("y = intersection_ll y a b b e", DIAGONALS)[0])  # One line.
    assert part.points[-1] == "x"


def test_limits_and_failures():
    figure = drawn(DIAGONALS)
    with pytest.raises(TimeoutError, match="more than 0.001 s"):
        figure.deduce([DIAGONALS.goal], 0.001)
    with pytest.raises(engine.EngineError, match="numerical check"):
        figure.deduce([("coll", "a", "b", "c")], 20)


def test_a_failure_of_the_engine_has_its_reason():
    """Of this figure the engine refuses its own numbers."""
    made = synthesis.make_problems(1, 1177, 4, 8, 20.0)
    assert made["counts"] == {"failures": 1} and not made["problems"]
    (reason,) = made["failures"]
    assert "numerical only check" in reason and "\n" not in reason


def test_problems_of_a_figure_are_as_the_reward_says():
    """The same twice; the engine does not prove them alone, and does so with the auxiliary clauses."""
    made = synthesis.make_problems(*FIGURE, 4, 8, 20.0)
    assert made == synthesis.make_problems(*FIGURE, 4, 8, 20.0)
    assert made["problems"] and made["counts"]["made"] == len(made["problems"])
    text, auxiliary = made["problems"][0]
    statement = parse_statement(text)
    assert engine.prove(statement, 20).result == "no proof"
    assert geometry(auxiliary, {"problem": text}).verdict == "correct"
    needed = set(statement.goal[1:])
    for clause in reversed(statement.clauses):  # The statement has no clause that its goal does not rely on.
        assert needed & set(clause.points)
        needed.update(clause.arguments)
