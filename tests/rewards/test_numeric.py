from fractions import Fraction

import pytest

from rl_reason.rewards import number
from rl_reason.rewards.numeric import last_number, marked_number, parse_number
from rl_reason.rewards.verdict import UnparseableGold


@pytest.mark.parametrize("text, expected", [
    ("18", 18), ("-18", -18), ("(073)", 73),
    ("\\textbf{(18) }", 18), ("+18", 18), ("−18", -18), ("018", 18), ("18.", 18), ("18.0", 18),
    ("18.50", Fraction(37, 2)),
    (".5", Fraction(1, 2)), ("0.1", Fraction(1, 10)), ("1,234", 1234), ("1,234,567.5", Fraction(2469135, 2)),
    ("$18", 18), ("\\$18.00", 18), ("$18$", 18), ("-$5", -5), ("$-5", -5), ("18 €", 18), ("50%", 50), ("50\\%", 50),
    ("1/2", Fraction(1, 2)), ("-6 / 4", Fraction(-3, 2)), ("\\frac{3}{4}", Fraction(3, 4)),
    ("-\\dfrac{1}{2}", Fraction(-1, 2)),
    ("18 apples", 18), ("18 miles per hour.", 18), ("**18**", 18), ("18\\text{ cm}", 18), ("18cm", 18),
    ("$5 per day.", 5), ("5 quarters", 5), ("1{,}000", None),
    ("5 elephants", 5), ("90°", 90), ("5 km/h", 5), ("5 cm squared", 5),
])
def test_numbers(text, expected):
    assert parse_number(text) == expected


@pytest.mark.parametrize("text", [
    "", " ", "-", "$", ".", "abc", "x = 18", "1,23", "12,34,567", "1.2.3", "1 234", "1 or 2", "18 20", "1e3", "1e",
    "1e-3", "2 million", "3 dozen", "18k", "18 or more", "2 and a half", "18 -", "****", "**", "$$",
    "9**9**9", "9^9", "9^{9^9}", "2+2", "1/0", "--1", "-$-1", "1/2/3", "0x10", "1_000", "٣", "½", "inf", "nan",
    "__import__('os').system('true')", "18 apples and 3 pears", "1" * 101, "\\frac{1}{0}", "5-3", "18!",
    "5 squared", "5 plus six", "5 / h", "5 km/2",
])
def test_not_numbers(text):
    assert parse_number(text) is None


def test_number():
    problem = {"answer": "1,000"}
    assert number("#### 1000", problem).verdict == "correct"
    assert number(r"\boxed{1000} or \boxed{1001}", problem).score == 0.0
    assert number(r"\boxed{1000.0000000000000000001}", problem).verdict == "wrong"
    assert number(r"\boxed{many}", problem).verdict == "unparseable"
    assert number("1000", problem).verdict == "correct"
    with pytest.raises(UnparseableGold):
        number(r"\boxed{many}", {"answer": "many"})
    with pytest.raises(UnparseableGold):
        number.check_gold({"answer": "many"})


@pytest.mark.parametrize("text, expected", [
    ("He has 17 apples and 18 pears.", "18"), ("12+30=42\n", "42"), ("$x = 18$", "18"), ("(18)", "18"), ("18.", "18"),
    ("**18**", "18"), ("it is $18.00", "$18.00"), ("18%", "18"), ("18 \\%", "18"), ("18\\text{ cm}", "18"),
    ("18 km.", "18"), ("€1,234.5", "€1,234.5"), ("= -18", "-18"), ("= − 18", "− 18"), ("20-2", "2"), ("20 - 2", "2"),
    ("well-known-5", "5"), ("3, 4", "4"), ("3/4", "3/4"), ("\\frac{1}{2}.", "\\frac{1}{2}"), (".5", ".5"),
    ("17 (see step 2)", "2"), ("17 or 18", "18"), ("18 or more", "18"),
    ("=> 5", "5"), ("-> 5", "5"), ("= <<2+3=5>>5", "5"), ("about 5", "5"), ("the catalog 5", "5"),
])
def test_last_number(text, expected):
    assert last_number(text) == expected


@pytest.mark.parametrize("text", [
    # Part of something longer, or another number than the digits say.
    "2**3", "9**9**9**9", "10^2", "10^{2}", "10^{-2}", "1e5", "1e-5", "5!", "5 !", "x_2", "log_{2}", "\\sqrt{2}", "A4",
    "0x10", "2 million people", "3 dozen", "18k", "2 and a half", "1/2/3", "1 / 2", "3:45", "1.2.3", "12,34,567",
    "1 000", "1_000", "(3,4)", "1" * 150,
    "√5", "log 5", "\\log 5", "ln(5)", "sqrt(5)", "±5", "\\pm 5", "<5", "x < 5", "\\le 5", "≥ 5",
    # Digits of other alphabets, powers and fractions are never passed over.
    "17 or ١٨", "17 or １８", "5²", "17½", "17 ③", "17 x₁", "١٨",
    "no number", "", "<answer>18",
])
def test_no_last_number(text):
    assert last_number(text) is None


def test_the_last_number_counts_where_nothing_is_marked():
    problem = {"answer": "18"}
    assert number("17 and 1 make 18.", problem).verdict == "correct"
    assert number("18 and 1 make 19.", problem).verdict == "wrong"
    assert number("#### 17\nOr is it 18?", problem).verdict == "wrong"
    assert number("<think>17+1=18</think> I see.", problem).verdict == "unparseable"
    assert number("<think>17+1=18", problem).verdict == "unparseable"
    assert number("<think>So 17</think> 18", problem).verdict == "correct"
    for empty in ("\\boxed{}", "<answer></answer>", "<answer> ", "\\boxed{18", "The answer is"):
        assert number(f"It is 18. {empty}", problem).verdict == "unparseable", empty
    assert marked_number("17 and 1 make 18.", problem).extracted is None
