"""The accuracy reward: equal answers, unequal ones, and the known traps of graders."""

import json
from pathlib import Path

import pytest

from rl_reason.rewards import accuracy, number
from rl_reason.rewards.combination import Rewarder
from rl_reason.rewards.verdict import UnparseableGold
from rl_reason.settings import Reward

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "math"


def judge(gold: str, answer: str) -> str:
    return accuracy(rf"so \boxed{{{answer}}}", {"answer": gold}).verdict


@pytest.mark.parametrize("gold, answer", [
    ("18", "18"), ("18", "018"), ("18", "+18"), ("18", "18.0"), ("18", "18 \\text{ apples}"),
    ("18", "\\$18"), ("18", "$18$"),
    ("1234", "1,234"), ("\\frac{1}{1,\\!234}", "1/1234"),
    ("\\frac{1}{2}", "0.5"), ("\\frac12", "\\dfrac{1}{2}"), ("1/2", "\\tfrac{2}{4}"),
    ("2\\sqrt{3}", "\\sqrt{12}"), ("x^2+2x+1", "(x+1)^2"), ("(1,2)", "(1, 2)"), ("\\{1,2\\}", "\\{2,1\\}"),
    ("5", "x=5"), ("\\text{Evelyn}", "Evelyn"), ("\\text{(C)}", "C"), ("\\pi", "\\pi"), ("50\\%", "50"),
    ("90^\\circ", "90"), ("[0,1)", "[0, 1)"),
    ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{bmatrix}1\\\\2\\end{bmatrix}"),
    ("2516_8", "2516_{8}"), ("2516_8", "2516"), ("3", "3."), ("5", "5_{10}"), ("x_1^2", "x^2_1"),
    ("5", "5 dollars"), ("5", "$5$ dollars."), ("5", "5 km/h"), ("5", "5 years old"), ("5", "5 °C"), ("5", "5 percent"),
    ("0.05", "5 percent"), ("\\frac{1}{2}", "50\\%"), ("10", "10\\text{ units squared}"),
    ("5", "n = 2 + 3 = 5"), ("5", "x=y=5"), ("0.333", "x=\\frac{1}{3}=0.333"), ("5", "5 \\text{ km} = 5000 \\text{ m}"),
    ("AB=9, CD=4", "AB = 9, CD = 4"), ("f'(x)", "f'(x)."), ("f(x)", "'f(x)'"), ("5", "5'"),
    ("\\frac{1}{3}", "0.3333333\\ldots"), ("4 \\text{ or } 5", "4, 5"), ("4 \\text{ or } 5", "5 \\text{ or } 4"),
    ("2, 3, \\text{ and } 4", "2,3,4"), ("5k", "k \\cdot 5"), ("5\\text{ million}", "5\\text{ million}"),
])
def test_equal(gold, answer):
    assert judge(gold, answer) == "correct"


@pytest.mark.parametrize("gold, answer", [
    ("18", "19"), ("18", "-18"), ("18", "1.8"), ("18", "\\{17, 18, 19\\}"), ("18", "17, 18"),
    ("\\frac{1}{2}", "\\frac{1}{3}"),
    ("(1,2)", "(2,1)"), ("[0,1)", "[0,1]"), ("\\text{Evelyn}", "\\text{Debra}"), ("x+1", "y+1"), ("x=5", "y=5"),
    ("2516_8", "2516_7"), ("5", "x"), ("5", "\\frac{5}{0}"), ("5", "\\infty"),
    # What the grammar drops.
    ("12", "12_3"), ("5", "5_6"), ("101_2", "101_{10}"), ("f(x)", "f'(x)"), ("f'(x)", "f''(x)"), ("x", "x'"),
    ("5", "5\\ldots"), ("5", "5,\\ldots"), ("5", "5\\mod 6"),
    ("5", "5 \\text{ million}"), ("5", "5\\text{ thousand}"), ("5", "5\\mbox{ dozen}"), ("5", "5 \\text{ squared}"),
    ("5", "5\\text{k}"), ("5", "5\\mathrm{k}"), ("5", "5 \\text{ or more}"), ("5", "5\\text{ or six}"),
    ("5", "5 \\text{ plus six}"), ("\\sqrt{2}", "\\sqrt{2}\\text{ million}"),
    # Not units.
    ("5", "6 dollars"), ("5", "5 x"), ("5", "5 pi"), ("5", "5 less than ten"), ("0.5", "0.5\\%"),
    ("5", "5 dollars or six"),
])
def test_unequal(gold, answer):
    assert judge(gold, answer) == "wrong"


@pytest.mark.parametrize("gold, answer", [
    ("5", "6=x=5"), ("6", "a=5=b=6"), ("5", "x=1=2=3=4=5"), ("5", "\\frac{12}{2} = x = 5"),
    ("5", "4=" * 100 + "5"),
])
def test_a_chain_of_different_numbers_is_no_answer(gold, answer):
    assert judge(gold, answer) == "unparseable"


def test_several_boxes_are_judged_by_the_last():
    problem = {"answer": "18"}
    guesses = " ".join(rf"\boxed{{{n}}}" for n in range(30))
    assert accuracy(guesses, problem).verdict == "wrong"
    assert accuracy(guesses + r" \boxed{18}", problem).verdict == "correct"
    assert accuracy(r"<answer>17}} \boxed{18</answer>", problem).verdict == "unparseable"
    assert accuracy(r"<answer>17 \boxed 18</answer>", problem).verdict == "unparseable"


@pytest.mark.parametrize("gold", ["", "   ", "{{", "\\frac{", "}{", "???", "$$", "x" * 2000])
@pytest.mark.parametrize("answer", ["", "5", None])
def test_unparseable_gold_gives_no_reward(gold, answer):
    text = gold if answer is None else rf"\boxed{{{answer}}}"
    try:
        assert accuracy(f"<answer>{text}</answer>", {"answer": gold}).score == 0.0
    except UnparseableGold as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("grader", ["accuracy", "number"])
def test_hostile_answers_do_nothing(grader, tmp_path):
    """No text of a model is run, and none stops the pool: large powers only cost the time limit."""
    trace = tmp_path / "trace"
    touch = f"__import__('os').system('touch {trace}')"
    texts = [touch, f"(1).__class__.__base__ and {touch}", f"\\text{{{touch}}}", f"18 if {touch} else 18",
             f"1+{touch}", f"lambda: {touch}", "9**9**9", "9^{9^{9^9}}", "10^{10^{10}}!", "1" * 100_000, "(" * 5_000,
             "\\frac{" * 300, "{" * 300 + "18" + "}" * 300, "18" + " " * 100_000 + "x", "\x00", "\ud800",
             "18\\", "\\", "%"]
    texts = [f"<answer>{text}</answer>" for text in texts] + [f"The answer is {texts[0]}", r"\boxed{18}"]
    with Rewarder(Reward(names=(grader,), timeout=1.0, workers=2)) as rewarder:
        graded = rewarder.grade(texts, [{"answer": "17"}] * (len(texts) - 1) + [{"answer": "18"}])
    assert not trace.exists()
    assert graded.total.tolist() == [0.0] * (len(texts) - 1) + [1.0]
    assert graded.counts["error"] == graded.counts["crash"] == 0, graded.failures


def test_no_python_evaluation(monkeypatch):
    """`sympy.parse_expr` runs what it reads: grading must not come near it."""
    import math_verify.parser

    called = []  # An exception might be caught on its way.
    monkeypatch.setattr(math_verify.parser, "parse_expr", lambda *_, **__: called.append(1))
    monkeypatch.setattr(math_verify.parser, "parse_expr_cached", lambda *_, **__: called.append(1))
    for answer in ("1/2", "1+1", "3*4", "2^5", "(1+2)*3", "9**9"):
        judge("7", answer)
    assert not called


def rows(name):
    path = DATA / f"{name}.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("grader", [accuracy, number])
def test_gsm8k_solutions(grader):
    """Every worked solution is correct for its own problem, and wrong for the problem before it."""
    problems = rows("gsm8k_test")
    for before, problem in zip(problems, problems[1:] + problems[:1], strict=True):
        assert grader(problem["solution"], problem).verdict == "correct", problem["id"]
        if before["answer"] != problem["answer"]:
            assert grader(problem["solution"], before).verdict == "wrong", problem["id"]


def test_math500_solutions():
    """Every worked solution is correct for its own problem; swapped ones are not."""
    problems = rows("math500")
    for before, problem in zip(problems, problems[1:] + problems[:1], strict=True):
        assert accuracy(problem["solution"], problem).verdict == "correct", problem["id"]
        # "x=5" is an answer to a question whose answer is "5".
        if before["answer"].rpartition("=")[2] != problem["answer"].rpartition("=")[2]:
            assert accuracy(problem["solution"], before).score == 0.0, (problem["answer"], before["answer"])
