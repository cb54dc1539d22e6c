"""Multiple choice: what names one choice, what names none, and letters in other alphabets."""

import pytest

from rl_reason.rewards import choice
from rl_reason.rewards.verdict import UnparseableGold

CHOICES = ["the Sun", "2\\pi", "$3$ m/s.", "All of the above"]
LISTED = {"answer": "C", "choices": CHOICES}
UNLISTED = {"answer": "C"}


@pytest.mark.parametrize("problem", [LISTED, UNLISTED], ids=["listed", "unlisted"])
@pytest.mark.parametrize("answer", [
    "C", "c", "(C)", "(c)", "C.", "C)", "C:", " C ", "**C**", "(**C**)", "\\text{(C)}", "\\textbf{C}", "\\mathrm{C}",
    "$C$", "$\\text{C}$", "**(C)**", "C. 3 m/s", "(C) 3 m/s", "C) $3$ m/s.", "**C. 3 m/s**", "\\text{(C) 3 m/s}",
    "option C", "choice (C)",
])
def test_names_the_choice(problem, answer):
    assert choice(f"<answer>{answer}</answer>", problem).verdict == "correct"
    assert choice(f"So the correct answer is {answer}", problem).verdict == "correct"
    assert choice(f"Let me see.\n\n{answer}", problem).verdict == "correct"
    assert choice(f"<answer>{answer}</answer>", problem | {"answer": "B"}).verdict == "wrong"


@pytest.mark.parametrize("answer", ["3 m/s", "$3$ m/s", "3\\text{ m/s}.", " 3 M/S "])
def test_names_the_choices_text(answer):
    assert choice(f"\\boxed{{{answer}}}", LISTED).verdict == "correct"
    assert choice(f"\\boxed{{{answer}}}", LISTED | {"answer": "A"}).verdict == "wrong"
    assert choice(f"\\boxed{{{answer}}}", UNLISTED).verdict == "unparseable"


@pytest.mark.parametrize("problem", [LISTED, UNLISTED], ids=["listed", "unlisted"])
@pytest.mark.parametrize("answer", [
    "A or C", "C or A", "A and C", "C and A", "C, A", "C, D", "(C) or (D)", "C/D", "A B C D", "ABCD", "CC", "C. or D.",
    "C. D", "(C), (D)", "C) and not D", "not C", "neither", "", " ", "{C", "C}", "-C", "C1", "C+D", "anything but C.",
    "Ｃ", "С", "Ⓒ", "ſ", "K", "(K)", "ℂ", "③", "3", "C\u0301", "9**9**9**9", "C " * 2000, "(C)" + " " * 5000 + "(D)",
])
def test_names_no_single_choice(problem, answer):
    """Full-width, Cyrillic and circled letters are no letters of choices."""
    assert choice(f"<answer>{answer}</answer>", problem).score == 0.0


@pytest.mark.parametrize("text, verdict", [
    ("could be B too", "unparseable"), ("If not, pick B instead", "unparseable"), ("a or c", "unparseable"),
    ("(b)", "unparseable"), ("b) and c)", "unparseable"),
    ("A wall of cells", "correct"), ("f(b) or less", "correct"), ("a dog and a cat", "correct"),
    ("I think so", "correct"),
])
def test_a_letter_with_a_text_names_no_other(text, verdict):
    assert choice(f"<answer>C: {text}</answer>", UNLISTED).verdict == verdict


def test_a_letter_with_another_choices_text_is_no_answer():
    assert choice("<answer>C. the Sun</answer>", LISTED).verdict == "unparseable"
    assert choice("<answer>A. 3 m/s</answer>", LISTED).verdict == "unparseable"
    assert choice("<answer>E</answer>", LISTED).verdict == "unparseable"
    assert choice("<answer>E</answer>", UNLISTED).verdict == "wrong"


def test_the_last_answer_counts_and_thoughts_do_not():
    assert choice("\\boxed{A} \\boxed{B} \\boxed{C} \\boxed{D}", LISTED).verdict == "wrong"
    assert choice("\\boxed{D} \\boxed{\\boxed{C}}", LISTED).verdict == "correct"
    assert choice("<answer>C</answer><answer>D</answer>", LISTED).verdict == "wrong"
    assert choice("<think>\\boxed{C}</think> I cannot say.", LISTED).verdict == "unparseable"
    assert choice("<think>The answer is C", LISTED).verdict == "unparseable"
    assert choice("<think>\nC", LISTED).verdict == "unparseable"
    assert choice("A\nB\nC\nD", LISTED).verdict == "wrong"
    assert choice("\\boxed{}", LISTED).verdict == "unparseable"
    assert choice("The answer is (C). But (D) is close.", LISTED).extracted == "(C)"


def test_texts_that_differ_in_case_only():
    problem = {"answer": "B", "choices": ["Bb x bb", "bb x bb", "BB"]}
    assert [choice(f"\\boxed{{{a}}}", problem).score for a in ("bb x bb", "Bb x bb", "BB x BB")] == [1, 0, 1]


def test_equal_texts_of_two_choices():
    problem = {"answer": "B", "choices": ["x", "7", "7"]}
    assert [choice(f"\\boxed{{{a}}}", problem).score for a in ("7", "B", "C", "x")] == [1, 1, 0, 0]


@pytest.mark.parametrize("changes", [
    {"answer": "E"}, {"answer": ""}, {"answer": "3 m/s"}, {"answer": "A or B"}, {"answer": "Ｃ"}, {"answer": "1"},
    {"choices": "ABCD"}, {"choices": [1, 2, 3]},
])
def test_gold_that_is_no_letter(changes):
    for call in (choice.check_gold, lambda problem: choice("<answer>C</answer>", problem)):
        with pytest.raises(UnparseableGold):
            call(LISTED | changes)
    choice.check_gold(LISTED)
    choice.check_gold({"answer": "(J)"})
