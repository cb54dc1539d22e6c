"""Arithmetic of models: worked out exactly, or refused."""

import random
from fractions import Fraction

import pytest

from rl_reason.rewards.arithmetic import LONGEST, work_out


def expression(rng: random.Random, depth: int) -> tuple[str, Fraction, list[int]]:
    """A random one with its value, built beside the text."""
    if depth == 0:
        number = rng.randint(0, 99)
        return str(number), Fraction(number), [number]
    (left, a, first), (right, b, second) = expression(rng, depth - 1), expression(rng, rng.randrange(depth))
    sign = rng.choice("+-*/" if b else "+-*")
    value = {"+": a + b, "-": a - b, "*": a * b, "/": a / (b or 1)}[sign]
    return f"({left}){rng.choice(['', ' '])}{sign}({right})", value, first + second


def test_values_are_exact():
    rng = random.Random(0)
    for _ in range(200):
        text, value, numbers = expression(rng, 3)
        assert work_out(text) == (value, numbers)


@pytest.mark.parametrize(
    "text, value", [("1+2*3", 7), (" 8/4/2 ", 1), ("10-3-2", 5), ("-5+8", 3), ("2*-3", -6), ("1/3*3", 1)]
)
def test_signs_bind_as_usual(text, value):
    assert work_out(text)[0] == value


@pytest.mark.parametrize("text", [
    "", " ", "1+", "x", "2**3", "9**9**9**9", "5//2", "5%2", "1.5", "1e3", "1_0", "0x10", "True", "2j", "'1'", "1=1",
    "1==1", "(1,2)", "[1]", "f(1)", "1 if 1 else 2", "1/0", "1/(2-2)", "~1", "1;2", "1\n2", "٣", "1\0",
    "(" * 250 + "1" + ")" * 250, "-" * 299 + "1", "1" * (LONGEST + 1),
    "__import__('os').system('true')", "(1).__class__", "(x:=1)", "1+abs(1)", "lambda: 1", "2^3", "3×4",
])
def test_anything_else_is_refused(text):
    if text.startswith("---"):  # As deep as a text may be: worked out or refused, but never a crash.
        assert work_out(text)[0] == -1
        return
    with pytest.raises(ValueError):
        work_out(text)
