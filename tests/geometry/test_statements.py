"""Statements of plane geometry: what is read, and what every other text is told."""

import time

import pytest

from rl_reason.geometry.statements import (
    LONGEST,
    MOST_CLAUSES,
    StatementError,
    parse_auxiliary,
    parse_statement,
)

TRIANGLE = "a b c = triangle a b c"
STATEMENT = parse_statement(f"{TRIANGLE}; d = foot d a b c; e = foot e b c a ? perp a d b c")


@pytest.mark.parametrize("text, expected", [
    (" a b c=triangle;  d = on_tline b a c,on_tline c a b?perp a d b c",
     "a b c = triangle a b c; d = on_tline d b a c, on_tline d c a b ? perp a d b c"),
    ("c a b = triangle a b c; d = parallelogram a b c ? para a d b c",
     "a b c = triangle a b c; d = parallelogram a b c d ? para a d b c"),
    ("a b = segment; c d = square a b; x = s_angle a b -15 ? cong a c b d",
     "a b = segment a b; c d = square a b c d; x = s_angle a b x -15 ? cong a c b d"),
    ("b@1.5_2 a@-0.25_-3 = segment a b ? cong a b b a", "a@-0.25_-3 b@1.5_2 = segment a b ? cong a b b a"),
])  # fmt: skip
def test_one_form_of_each_statement(text, expected):
    """Arguments that are left out are written out, points stand in the order in which they are made."""
    statement = parse_statement(text)
    assert str(statement) == expected
    assert parse_statement(expected) == statement


@pytest.mark.parametrize("text, line", [
    (TRIANGLE, "no goal in 'a b c = triangle a b c'; expected CLAUSES ? GOAL"),
    (f"{TRIANGLE} ?", "no goal"),
    ("? coll a b c", "clause '': expected POINTS = CONSTRUCTION"),
    (f"{TRIANGLE};; d = foot d a b c ? coll a b c", "expected POINTS = CONSTRUCTION"),
    (f"{TRIANGLE}; d = foot a b ? coll a b c", "foot has 2 arguments; expected foot x a b c"),
    (f"{TRIANGLE}; d = fot d a b c ? coll a b c", "unknown construction 'fot'; did you mean 'foot'?"),
    (f"{TRIANGLE}; d = ? coll a b c", "unknown construction ''"),
    (f"{TRIANGLE}; d = midpoint d a e ? coll a b c", "'e' is used before it is defined"),
    (f"{TRIANGLE}; d = midpoint d a d ? coll a b c", "'d' is used before it is defined"),
    (f"{TRIANGLE}; a = midpoint a b c ? coll a b c", "the point a is defined twice"),
    ("a a b = triangle a a b ? coll a a b", "the point a is defined twice"),
    (f"{TRIANGLE}; d = midpoint e a b ? coll a b c", "midpoint does not make the points of the clause"),
    (f"{TRIANGLE}; d e = midpoint d a b ? coll a b c", "midpoint does not make the points of the clause"),
    (f"{TRIANGLE}; D = midpoint D a b ? coll a b c", "'D' is no point"),
    (f"{TRIANGLE}; d = s_angle a b d 1.5 ? coll a b c", "'1.5': expected whole degrees"),
    (f"{TRIANGLE}; d = foot d a b c, on_line d a b ? coll a b c", "expected one construction, or two lines"),
    (f"{TRIANGLE} ? col a b c", "unknown predicate 'col'; did you mean 'coll'?"),
    (f"{TRIANGLE} ? coll a b", "coll has 2 points; expected 3"),
    (f"{TRIANGLE} ? coll a b d", "the point 'd' is not defined"),
    (f"{TRIANGLE} ? coll a a b", "coll of one point twice"),
    (f"{TRIANGLE} ? coll a b c ? coll a b c", "coll has 8 points"),
    ("a" * (LONGEST + 1), f"{LONGEST + 1} characters; expected at most {LONGEST}"),
])  # fmt: skip
def test_what_was_expected(text, line):
    with pytest.raises(StatementError) as error:
        parse_statement(text)
    assert line in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 2000


@pytest.mark.parametrize("text", [
    "x = midpoint x a b", "x = midpoint a b;", "x = on_line x a b, on_circle x c d; y = reflect y x a b",
    "x y z = triangle x y z", "x y = square a b x y",
])  # fmt: skip
def test_auxiliary_clauses(text):
    clauses = parse_auxiliary(text, STATEMENT)
    added = STATEMENT.plus(clauses)
    assert parse_statement(str(added)) == added and added.goal == STATEMENT.goal


@pytest.mark.parametrize("text", [
    # What would be taken for granted of points that are there.
    "x = on_tline a d b c", "x = foot d a b c", "a = midpoint a b c", "x = coll a b c",
    "x = midpoint x a b, midpoint x c d", "x = foot x a b c, on_line x a b",
    "x = on_line x a b, on_line x c d, on_line x a e", "x = on_line a b c, free x",
    "x y z i = 2l1c x y z i a b c d", "x y = e5128 x y a b c d", "x = on_line x a b, on_line a x b",
    "x y = on_line x y a", "x = free x, free x", "x@1_2 = free x", "x = s_angle a b x 1e3", "x = s_angle a b x 60o",
    # What is no text of the language.
    "", ";", " ", "x", "=", "x =", "= free x", "x = free x ? coll a b c", "x : free x", "x = free x | y = free y",
    "__import__ = free __import__", "x = __import__('os')", "x = free __class__", "x = ../../etc/passwd", "X = free X",
    "ｘ = free ｘ", "x = free x; x = free x", "x = mid\u200bpoint x a b", "а = free а", "x\x00 = free x\x00",
    "\ud800 = free \ud800", "x" * 9 + " = free " + "x" * 9, "x = free x\nimport os",
    "; ".join(f"x{i} = free x{i}" for i in range(MOST_CLAUSES + 1)), "x = free x; " * 5000, "a b c " * 100_000,
])  # fmt: skip
def test_what_cannot_be_added(text):
    began = time.monotonic()
    with pytest.raises(StatementError) as error:
        parse_auxiliary(text, STATEMENT)
    assert len(str(error.value)) < 2000 and time.monotonic() - began < 0.5
