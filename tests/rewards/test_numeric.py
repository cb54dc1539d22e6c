from fractions import Fraction

import pytest

from rl_reason.rewards import number
from rl_reason.rewards.numeric import parse_number
from rl_reason.rewards.verdict import UnparseableGold


@pytest.mark.parametrize("text, expected", [
    ("18", 18), ("-18", -18), ("+18", 18), ("−18", -18), ("018", 18), ("18.", 18), ("18.0", 18),
    ("18.50", Fraction(37, 2)),
    (".5", Fraction(1, 2)), ("0.1", Fraction(1, 10)), ("1,234", 1234), ("1,234,567.5", Fraction(2469135, 2)),
    ("$18", 18), ("\\$18.00", 18), ("$18$", 18), ("-$5", -5), ("$-5", -5), ("18 €", 18), ("50%", 50), ("50\\%", 50),
    ("1/2", Fraction(1, 2)), ("-6 / 4", Fraction(-3, 2)), ("\\frac{3}{4}", Fraction(3, 4)),
    ("-\\dfrac{1}{2}", Fraction(-1, 2)),
    ("18 apples", 18), ("18 miles per hour.", 18), ("**18**", 18), ("18\\text{ cm}", 18), ("18cm", 18),
    ("$5 per day.", 5), ("5 quarters", 5), ("1{,}000", None),
    ("5 elephants", 5), ("90°", 90),
])
def test_numbers(text, expected):
    assert parse_number(text) == expected


@pytest.mark.parametrize("text", [
    "", " ", "-", "$", ".", "abc", "x = 18", "1,23", "12,34,567", "1.2.3", "1 234", "1 or 2", "18 20", "1e3", "1e",
    "1e-3", "2 million", "3 dozen", "18k", "18 or more", "2 and a half", "18 -", "****", "**", "$$",
    "9**9**9", "9^9", "9^{9^9}", "2+2", "1/0", "--1", "-$-1", "1/2/3", "0x10", "1_000", "٣", "½", "inf", "nan",
    "__import__('os').system('true')", "18 apples and 3 pears", "1" * 101, "\\frac{1}{0}", "5-3", "18!",
])
def test_not_numbers(text):
    assert parse_number(text) is None


def test_number():
    problem = {"answer": "1,000"}
    assert number("#### 1000", problem).verdict == "correct"
    assert number(r"\boxed{1000} or \boxed{1001}", problem).score == 0.0
    assert number(r"\boxed{1000.0000000000000000001}", problem).verdict == "wrong"
    assert number(r"\boxed{many}", problem).verdict == "unparseable"
    assert number("1000", problem).extracted is None
    with pytest.raises(UnparseableGold):
        number(r"\boxed{many}", {"answer": "many"})
