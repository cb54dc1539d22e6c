import time

import pytest

from rl_reason.rewards.extraction import final_answer


@pytest.mark.parametrize("text, expected", [
    (r"so \boxed{18}", "18"),
    (r"\boxed{\frac{1}{\sqrt{2}}} done", r"\frac{1}{\sqrt{2}}"),
    (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
    (r"\boxed{\left\{x\right.}", r"\left\{x\right."),
    (r"\boxed {7}", "7"),
    (r"\fbox{8} or \fboxed{7}", "7"),
    (r"\boxed{\boxed{3}}", "3"),
    (r"\boxed{1}, \boxed{2}, \boxed{3}", "3"),  # Guesses: the last one only.
    (r"\boxed{1} and \boxed{2", "1"),
    (r"\boxed{1", None),
    (r"\boxed{}", None),
    ("<think>x</think><answer> 18 </answer>", "18"),
    ("<answer>17</answer> no, <answer>18</answer>", "18"),
    (r"<answer>\boxed{17} \boxed{18}</answer> \boxed{3}", "18"),
    ("<answer>The answer is 18.</answer>", "18"),
    ("<answer></answer>", None),
    (r"\boxed{18} <answer>unfinished", "18"),
    (r"<think>\boxed{18}</think> nothing", None),
    (r"\boxed{17}</think>\boxed{18}", "18"),
    ("</think>17</think> answer is 18", "18"),
    ("1 + 1 = 2\n#### 1,000\nmore", "1,000"),
    ("#### 3\n#### 4", "4"),
    ("The final answer is: 18. I hope it is correct.", "18"),
    ("The answer is 17. No, the answer is 3.5.", "3.5"),
    ("Answer: **18**", "18"), ("The answer is **18**.", "18"), ("The answer is **18.** So it is.", "18"),
    ("**Answer: 18**", "18"), ("**Answer:** **18**", "18"), ("**Answer**: 18", "18"), ("The **answer** is *18*", "18"),
    ("The answer is `18`", "18"), ("The answer is **18** cm", "18 cm"), ("#### **18**", "18"), ("**#### 18**", "18"),
    ("<answer>**18**</answer>", "18"), ("<answer>****</answer>", "****"),
    # What is no emphasis stays.
    ("The answer is 2**3", "2**3"), ("The answer is **2**3**", "2**3"), ("The answer is 2*3.", "2*3"),
    ("The answer is $f^*$", "$f^*$"), ("The answer is f^*", "f^*"),
    ("<answer>Sagittarius A*</answer>", "Sagittarius A*"), ("<answer>*</answer>", "*"), ("<answer>*p</answer>", "*p"),
    (r"\boxed{18**}", "18**"),
    ("the ANSWER IS $18$", "$18$"),
    ("it is 18", None),
    ("answers are 18", None),
    ("", None),
])
def test_final_answer(text, expected):
    assert final_answer(text) == expected


@pytest.mark.parametrize("piece", [r"\boxed{", "{", "}", "<answer>", "</answer>", "answer is ", "#### ", " ", "\\",
                                   r"\boxed", "<think>", "answer" + " " * 50,
                                   "answer is *", "answer is **x", "*", "`", ".*", "answer*"])
def test_time_is_linear(piece):
    text = piece * (1_000_000 // len(piece))
    start = time.process_time()
    final_answer(text)
    assert time.process_time() - start < 3.0
