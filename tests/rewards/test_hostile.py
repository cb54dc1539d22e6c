"""Texts that are meant to fool or to stop a grader, for all graders of answers: what gives no reward anywhere."""

import time

import pytest

from rl_reason.rewards import REWARDS
from rl_reason.rewards.combination import Rewarder
from rl_reason.settings import Reward

GOLDS = {"math": "18", "number": "18", "boxed_exact": "18", "choice": "C"}
WORDS = "we add three and 四 $x$ of them. "


def verdict(grader: str, text: str) -> str:
    return REWARDS[grader](text, {"answer": GOLDS[grader]}).verdict


NOT_CORRECT = [
    r"\boxed{17} \boxed{18} \boxed{19}", r"\boxed{18} \boxed{17}", r"\boxed{17, 18, 19}", r"\boxed{17 \text{ or } 18}",
    r"\boxed{18 \text{ or } 17}", r"\boxed{17 and 18}", r"\boxed{18; 19}", r"\boxed{18/19}", r"\boxed{18 19}",
    r"\boxed{18\ 19}", r"\boxed{\{17, 18\}}", r"\boxed{18 \text{, not } 19}", r"\boxed{}", r"18 \boxed{}", r"\boxed{ }",
    r"\boxed{\boxed{}}", r"\boxed{18 \boxed{17}}", r"\boxed{\boxed{18} 17} \boxed{17}", r"\boxed{18",
    r"\boxed{18}}{\boxed{17}",
    r"\boxed{9**9**9**9}", r"\boxed{18**1}", r"\boxed{18^{2}}", r"\boxed{18!!}",
    r"\boxed{" + r"\frac{" * 200 + "18" + "}" * 200 + "}", r"\boxed{" + "{" * 400 + "17" + "}" * 400 + "}",
    # Digits and letters of other alphabets: no number, and never another one.
    r"\boxed{１８}", r"\boxed{١٨}", r"\boxed{१८}", r"\boxed{1⁸}", r"\boxed{18²}", r"\boxed{18½}", r"\boxed{⑱}",
    r"\boxed{18１}",
    # The answer in the thought only; two tags; a tag that is not closed.
    r"<think>\boxed{18}</think>", "<think>The answer is 18</think> Well.", r"<think> \boxed{18}", "<think>#### 18\n",
    r"<think>\boxed{18}</think> \boxed{17}", "<answer>18</answer><answer>17</answer>",
    "<answer>17</answer> <answer></answer>",
    r"</think>\boxed{18}</think> none", "<answer>18",
    "__import__('os').system('true') #### 17", "\x00", "\ud800", "",
]


@pytest.mark.parametrize("grader", GOLDS)
def test_nothing_is_given(grader):
    """"18" in a text stands for the right answer, "17" and "19" for wrong ones."""
    texts = NOT_CORRECT
    if grader == "choice":
        texts = [text.replace("18", "C").replace("17", "B").replace("19", "D") for text in texts]
    with Rewarder(Reward(names=(grader,), timeout=1.0)) as rewarder:
        graded = rewarder.grade(texts, [{"answer": GOLDS[grader]}] * len(texts))
    assert [text for text, verdict in zip(texts, graded.verdicts, strict=True) if verdict == "correct"] == []
    assert graded.counts["crash"] == graded.counts["error"] == 0, graded.failures


@pytest.mark.parametrize("grader", ["math", "number"])
@pytest.mark.parametrize("text", ["18%", "18\\%", "18 \\text{ cm}", "18 cm", "\\$18", "+18", "$18$"])
def test_percent_and_units_are_left_out(grader, text):
    assert verdict(grader, f"The answer is {text}") == "correct"
    assert verdict(grader, f"The answer is {text.replace('18', '1.8')}") == "wrong"
    assert verdict(grader, f"The answer is {text.replace('18', '1 8')}") == "unparseable"


@pytest.mark.parametrize("answer", [
    "5 6 7", "1 8", "17 1", "1\\,8", "9 \\quad 9", "(9) 9", "9 (9)", "19 = 18", "18 \\text{19}", "\\text{19} 18",
    "18\\text{ or 19}", "1\\;8",
])
def test_numbers_side_by_side_are_no_sum(answer):
    """The grammar would add them: 5 6 7 is not 18."""
    assert verdict("math", rf"\boxed{{{answer}}}") == "unparseable"


@pytest.mark.parametrize("gold, answer", [
    ("a + b + c", "c+b+a"), ("\\sin^2 t", "\\sin^2 (t)"), ("2007 + \\frac\\pi 2", "\\frac{4014+\\pi}{2}"),
    ("\\text{(E)},", "E"), ("\\approx 8.24 \\text{ mph}", "8.24"), ("\\dfrac 3 8", "\\frac{3}{8}"),
    ("05\\!:\\!00", "05:00"),
    ("\\begin{pmatrix} 1 & \\phantom -1 \\end{pmatrix}", "\\begin{pmatrix} 1 & 1 \\end{pmatrix}"), ("1\\,234", "1234"),
    ("\\text{A5}_{11}", "\\text{A5}_{11}"), ("73", "\\textbf{(073)}"), ("37/2", "18 1/2"),
    ("0.33333333", "0.333333331"),
])
def test_ways_to_write_the_same(gold, answer):
    accuracy = REWARDS["math"]
    assert accuracy(rf"\boxed{{{answer}}}", {"answer": gold}).verdict == "correct"
    assert accuracy(rf"\boxed{{{gold}}}", {"answer": gold}).verdict == "correct"
    assert accuracy(r"\boxed{12345}", {"answer": gold}).verdict == "wrong"
    accuracy.check_gold({"answer": gold})


@pytest.mark.parametrize("grader", [*GOLDS, "format", "language", "repetition", "length"])
@pytest.mark.parametrize("piece", [WORDS, r"\boxed{", r"\boxed{18} ", "<answer>18</answer>", "1", "(", "\\[", " "])
def test_ten_megabytes_take_seconds(grader, piece):
    problem = {"answer": GOLDS.get(grader, "18"), "problem": "How many?", "max_characters": 1000}
    size = 10_000_000 if piece is WORDS else 1_000_000
    start = time.process_time()
    REWARDS[grader](piece * (size // len(piece)), problem)
    assert time.process_time() - start < 20.0


def test_what_hangs_is_a_timeout_of_its_own():
    hanging = [r"\boxed{9^{9^{9^{9}}}}", r"\boxed{(10^{10^{10}})!}"]
    with Rewarder(Reward(names=("math",), timeout=1.0)) as rewarder:
        graded = rewarder.grade([*hanging, r"\boxed{18}"], [{"answer": "\\sqrt{324}"}] * 3)
    assert graded.verdicts[2] == "correct" and "correct" not in graded.verdicts[:2]
    assert graded.counts["crash"] == graded.counts["error"] == 0
