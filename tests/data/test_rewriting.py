"""Completions written anew by rule."""

from rl_reason.data.rewriting import readable


def test_lines_are_in_order_and_nothing_is_said_twice_in_a_row():
    text = "<think>\n  1+1=2\n\n1+1=2\nso   two\n1+1=2 </think>\n<answer> 2 </answer>\n"
    assert readable(text, {}) == "<think>1+1=2\nso two\n1+1=2</think><answer>2</answer>"


def test_what_has_another_form_or_no_thought_is_not_rewritten():
    assert readable("The answer is 2.", {}) is None
    assert readable("<think> \n</think><answer>2</answer>", {}) is None
    assert readable("<think>1</think><answer>2</answer> and more", {}) is None
