"""A box that holds the answer as it is written, and nothing else."""

import pytest

from rl_reason.rewards import boxed_exact
from rl_reason.rewards.verdict import UnparseableGold


@pytest.mark.parametrize("gold, text, verdict", [
    ("18", r"so \boxed{18}", "correct"),
    ("18", r"\boxed{ 18 }.", "correct"),
    (" a  b\n", r"\boxed{a b}", "correct"),
    (r"\frac{1}{2}", r"\boxed{\frac{1}{2}}", "correct"),
    ("18", r"<answer>\boxed{18}</answer>", "correct"),
    ("18", r"<answer>\boxed{17}</answer><answer>\boxed{18}</answer>", "correct"),
    ("18", r"\boxed{\boxed{18}}", "correct"),
    ("18", r"\boxed{18.0}", "wrong"),
    ("0.5", r"\boxed{\frac{1}{2}}", "wrong"),
    ("1,000", r"\boxed{1000}", "wrong"),
    ("50%", r"\boxed{50\%}", "wrong"),
    ("18", r"\boxed{18 \text{ cm}}", "wrong"),
    ("18", r"\boxed{１８}", "wrong"),
    ("18", r"\boxed{١٨}", "wrong"),
    ("18", r"\boxed{1⁸}", "wrong"),
    ("18", r"\boxed{17 or 18}", "wrong"),
    ("A", r"\boxed{A or B}", "wrong"),
    ("18", r"\boxed{16} \boxed{17} \boxed{18} \boxed{19}", "wrong"),
    ("18", r"\boxed{9**9**9**9}", "wrong"),
    ("18", r"\boxed{}", "unparseable"),
    ("18", r"\boxed{  }", "unparseable"),
    ("18", r"\boxed{18", "unparseable"),
    ("18", "18", "unparseable"),
    ("18", "The answer is 18. #### 18 <answer>18</answer>", "unparseable"),
    ("18", r"<think>\boxed{18}</think> 18", "unparseable"),
    ("18", r"<think>\boxed{18}", "unparseable"),
    ("18", "", "unparseable"),
])
def test_boxed_exact(gold, text, verdict):
    assert boxed_exact(text, {"answer": gold}).verdict == verdict


@pytest.mark.parametrize("gold", ["", " \n"])
def test_empty_gold(gold):
    for call in (boxed_exact.check_gold, lambda problem: boxed_exact(r"\boxed{}", problem)):
        with pytest.raises(UnparseableGold):
            call({"answer": gold})
