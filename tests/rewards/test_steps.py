"""The exact checker of steps: its rule as a table, whole solutions of the generator, and hostile text."""

import random
import time

import pytest

from rl_reason.data.word_problems import make_problem
from rl_reason.rewards import STEP_REWARDS
from rl_reason.rewards.steps import calculations
from rl_reason.rewards.verdict import UnparseableGold

# 12 + 3 · 10, then − 12, then ÷ 5
PROBLEM = {"id": "p", "solution": "3*10=30\n12+30=42\n42-12=30\n30/5=6", "answer": "6"}


@pytest.mark.parametrize(
    "steps, expected",
    [
        (["<think>3*10=30\n", "12+30=42\n", "42-12=30\n", "30/5=6</think><answer>6</answer>"], [1, 1, 1, 1]),
        (["10 * 3 = 30", "30+12=42", "42 - 12 = 30", "30÷5=6"], [1, 1, 1, 1]),  # Other orders of a sum, other signs.
        (["12-42=30"], [0]),  # A difference has one order.
        (["12+30=43", "42-12=30"], [0, 1]),  # A step is judged by itself.
        (["12+30=42, 42-12=30; (30/5=6)."], [1]),
        (["12+30=42 and 42-12=31"], [0]),
        (["2+2=4"], [0]),  # True, and not asked for.
        (["12+30=42", "12+30=42", "12+30=42"], [1, 0, 0]),
        (["12+30=42 12+30=42"], [0]),
        (["12+30=42 2+2=4", "12+30=42"], [0, 0]),  # Written, though in a wrong step.
        (["<think></think><answer>6</answer>"], [1]),
        (["The answer is 6.\n", "The answer is 6."], [1, 0]),
        (["The answer is 7.\n", "The answer is 6."], [0, 0]),
        (["30/5=6</think><answer>7</answer>"], [0]),
        (["30/5=7</think><answer>6</answer>"], [0]),
        (["<answer>30/5=6</answer>"], [0]),
        (["<answer>6</answer><answer>7</answer>"], [0]),
        (["</think><answer>6"], [0]),  # Cut off: no answer.
        (["Let us think.", "", "   \n"], [0, 0, 0]),  # Filler.
        ([], []),
        (["2*12+30=42", "2* 12+30=42", "12+30=42=42", "12+30==42", "12+30=42+0", "x=6", "12+30=42 = 42"], [0] * 7),
        (["12.0+30=42", "12+30=42.0", "012+30=42", "1,2+30=42", "12+30=4 2", "12+30=42²"], [0, 0, 1, 0, 0, 0]),
    ],
)  # fmt: skip
def test_the_rule(steps, expected):
    made = calculations(steps, PROBLEM)
    assert made == expected and all(isinstance(x, float) for x in made)


def test_a_calculation_may_be_written_as_often_as_it_stands_there():
    problem = {"solution": "3*4=12\n12+12=24\n24-12=12\n3*4=12", "answer": "12"}
    assert calculations(["3*4=12", "4*3=12", "3*4=12"], problem) == [1, 1, 0]


@pytest.mark.parametrize("index", range(50))
def test_solutions_of_the_generator(index):
    """All steps of a reference are right in any order; where one number is changed, exactly that step is wrong."""
    problem = make_problem("train", index, 0)
    lines = problem["solution"].split("\n")
    rng = random.Random(index)
    rng.shuffle(lines)
    assert calculations([*lines, f"The answer is {problem['answer']}."], problem) == [1.0] * (len(lines) + 1)
    wrong = rng.randrange(len(lines))
    changed = [f"{line}1" if i == wrong else line for i, line in enumerate(lines)]
    assert calculations(changed, problem) == [float(i != wrong) for i in range(len(lines))]


@pytest.mark.parametrize(
    "step",
    [
        "9**9**9=1", "9**9**9**9", "1/0=0", "0/0=0", "9" * 5000 + "+1=2", "1" * 10**7, "1+1=" + "2" * 10**7,
        " " * 10**7 + "=", "12+" * (10**7 // 3), "=" * 10**7, "١٢+٣٠=٤٢", "12+30=४२", "１２+３０=４２", "12+30=42٣",
        "__import__('os').system('false')=0", "\\boxed{" * 10**6, "<answer>" * 10**6, "12\x00+30=42", "\ud800=1",
        "12+30=42" + "\u200b", "∞-∞=0",
    ],
    ids=range(21),
)  # fmt: skip
def test_hostile_steps_are_wrong_and_fast(step):
    start = time.perf_counter()
    assert calculations([step, "12+30=42"], PROBLEM) == [0.0, 1.0]
    assert time.perf_counter() - start < 0.5


def test_steps_just_short_enough_to_be_read_are_fast():
    start = time.perf_counter()
    for piece in (" ", "=", "1", "1+", "-", " =", "<", "1+1=2 ", "$", "</think>", "answer is ", "\\boxed{"):
        calculations([(piece * 1000)[:1000]] * 10, PROBLEM)
    assert time.perf_counter() - start < 1.0


def test_many_steps_are_fast():
    start = time.perf_counter()
    assert sum(calculations(["12+30=42\n"] * 50_000, PROBLEM)) == 1
    assert time.perf_counter() - start < 20.0  # seconds; were it quadratic, minutes


@pytest.mark.parametrize("solution", [None, "", "Think hard.", "2+2=5", 7])
def test_a_problem_without_calculations_is_told(solution):
    with pytest.raises(ValueError, match="'p' holds no calculation"):
        calculations(["12+30=42"], {"id": "p", "solution": solution, "answer": "6"})


def test_an_answer_that_is_no_number_is_told():
    with pytest.raises(UnparseableGold):
        calculations(["12+30=42"], PROBLEM | {"answer": "six"})


def test_by_its_name():
    assert STEP_REWARDS["calculations"] is calculations
