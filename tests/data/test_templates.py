"""Prompt templates say what the papers say, and put the problem where it belongs."""

import pytest

from rl_reason.data.templates import TEMPLATES, find_template
from rl_reason.errors import UsageError

PROBLEM = {"id": "a", "problem": "What is {1} + 1 % of \\boxed{2}?", "solution": "1.02"}


# What "instruction" writes stands before a question that is itself the completion.
@pytest.mark.parametrize("name", sorted({*TEMPLATES} - {"instruction"}))
def test_every_template_contains_the_problem_as_it_is_once(name):
    prompt = TEMPLATES[name](PROBLEM)
    text = prompt if isinstance(prompt, str) else "".join(message["content"] for message in prompt)
    assert text.count(PROBLEM["problem"]) == 1


def test_what_is_rewritten_is_shown_and_has_to_be_there():
    (message,) = TEMPLATES["rewrite"](PROBLEM)
    assert message["content"].endswith("Notes:\n1.02")
    with pytest.raises(UsageError, match="problem 'a': no `solution`"):
        TEMPLATES["rewrite"]({"id": "a", "problem": "1?"})


def test_r1_zero_names_the_tags_and_leaves_the_word_to_the_assistant():
    text = TEMPLATES["r1_zero"](PROBLEM)
    assert "<think> reasoning process here </think> <answer> answer here </answer>" in text
    assert text.endswith("Assistant:")


def test_boxed_and_boxed_plain_ask_for_the_same():
    request = "Please reason step by step, and put your final answer within \\boxed{}."
    (message,) = TEMPLATES["boxed"](PROBLEM)
    assert message["role"] == "user" and message["content"].endswith(request)
    assert message["content"] in TEMPLATES["boxed_plain"](PROBLEM)


def test_question_and_none_add_a_newline_and_nothing():
    assert TEMPLATES["question"](PROBLEM) == PROBLEM["problem"] + "\n"
    assert TEMPLATES["none"](PROBLEM) == PROBLEM["problem"]


def test_a_template_of_ones_own_by_its_import_path():
    assert find_template("rl_reason.data.templates:none") is TEMPLATES["none"]
    with pytest.raises(UsageError, match="config.data.template"):
        find_template("rl_reason.data.templates:missing")
