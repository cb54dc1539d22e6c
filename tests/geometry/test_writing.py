"""Writings of one problem."""

import random

import pytest

from rl_reason.geometry.statements import parse_auxiliary, parse_statement
from rl_reason.geometry.writing import fingerprint, in_order, rewritten

MEDIANS = "a b c = triangle a b c; d = midpoint d b c; e = midpoint e a c; g = intersection_ll g a d b e ? coll a d g"
PROBLEM = parse_statement(MEDIANS)
AUXILIARY = parse_auxiliary("x = mirror x a g; y = midpoint y x b", PROBLEM)


def test_writings_are_many_and_mean_the_same():
    writings, marks = set(), set()
    for seed in range(30):
        statement, auxiliary = rewritten(PROBLEM, AUXILIARY, random.Random(seed))
        text, clauses = str(statement), "; ".join(map(str, auxiliary))
        again = parse_statement(text)
        assert again == statement and parse_auxiliary(clauses, again) == auxiliary
        assert again.points == ("a", "b", "c", "d", "e", "f")
        writings.add((text, clauses))
        marks.add((fingerprint(again.clauses, again.goal), fingerprint((*again.clauses, *auxiliary))))
    assert len(writings) > 6 and len(marks) == 1


@pytest.mark.parametrize("other", [
    MEDIANS.replace("midpoint e a c", "foot e b a c"),
    MEDIANS.replace("midpoint e a c", "midpoint e a b"),
    MEDIANS.replace("intersection_ll g a d b e", "intersection_ll g a b d e"),
    MEDIANS.replace("coll a d g", "coll b d g"),
    MEDIANS.replace("coll a d g", "para a b d e"),
])  # fmt: skip
def test_what_differs_has_another_mark(other):
    other = parse_statement(other)
    assert fingerprint(other.clauses, other.goal) != fingerprint(PROBLEM.clauses, PROBLEM.goal)


def test_two_lines_are_known_however_they_are_told():
    told = parse_statement(MEDIANS.replace("intersection_ll g a d b e", "on_line g e b, on_line g a d"))
    assert fingerprint(told.clauses) == fingerprint(PROBLEM.clauses)


def test_the_writing_that_stands_for_all():
    text = "c q a = triangle c q a; x = midpoint x q c; m = foot m x q a ? perp x m a q"
    statement = parse_statement(text)
    named, auxiliary = in_order(statement, parse_auxiliary("z = mirror z m x", statement))
    assert str(named) == "a b c = triangle a b c; d = midpoint d a b; e = foot e d b c ? perp b c d e"
    assert "; ".join(map(str, auxiliary)) == "f = mirror f e d"
