"""Rewards of the steps of a solution, one number each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from rl_reason.rewards.numeric import marked_number

_LONGEST = 1000
"""Characters of a step; a longer one is not read."""
_TAGS = re.compile(r"</?(?:think|answer)>")
_SIGNS = re.compile(r"\s*([-+*/×÷=])\s*")
_BETWEEN = re.compile(r"[\s,;]+")
_AROUND = ".:()$"
_CALCULATION = re.compile(r"([0-9]{1,9})([-+*/×÷])([0-9]{1,9})=([0-9]{1,9})")

Calculation = tuple[int, str, int, int]
"""a, sign, b, c of a ∘ b = c; of sums and products a ≤ b, for 3*4=12 and 4*3=12 are the same."""


def calculations(steps: Sequence[str], problem: Mapping) -> list[float]:
    """1 for each step that is right, else 0, where the solution is a list of calculations like `12+30=42`.

    A step is right if it writes at least one calculation, or the final answer, and

    - each of its calculations is true, is one of those in `problem["solution"]`, and was not written before, here or in
      an earlier step, more often than it stands there;
    - the final answer, if it states one (`extraction.final_answer`), is the number `problem["answer"]`, and no earlier
      step stated one.

    So a solution has only so many right steps, and neither filler nor repetition adds to them. Calculations are of two
    whole numbers, written in ASCII digits with one of `+ - * / × ÷`; any other equation is not right, nor is a step of
    more than 1000 characters. Nothing is evaluated but sums and products of such numbers.

    Args:
        steps: their texts, in order.
        problem: with `solution` and `answer`.

    Raises:
        ValueError: the problem's solution holds no true calculation, so there is nothing to compare with.
        UnparseableGold: its answer is no number.
    """
    solution = problem.get("solution")
    left = Counter(made for made in _equations(solution if isinstance(solution, str) else "") if made)
    if not left:
        raise ValueError(f"the solution of problem {problem.get('id')!r} holds no calculation such as 12+30=42")
    answered = False
    rewards = []
    for step in steps:
        if len(step) > _LONGEST:
            rewards.append(0.0)
            continue
        written = _equations(step)
        answer = marked_number(step, problem)
        right = bool(written) or answer.extracted is not None
        for made in written:
            right = right and made is not None and left[made] > 0
            if made:
                left[made] -= 1
        if answer.extracted is not None:
            right = right and answer.verdict == "correct" and not answered
            answered = True
        rewards.append(float(right))
    return rewards


def _equations(text: str) -> list[Calculation | None]:
    """What stands around each equals sign: a true calculation, or None for anything else."""
    joined = _SIGNS.sub(r"\1", _TAGS.sub(" ", text))
    return [_calculation(part.strip(_AROUND)) for part in _BETWEEN.split(joined) if "=" in part]


def _calculation(text: str) -> Calculation | None:
    match = _CALCULATION.fullmatch(text)
    if not match:
        return None
    a, b, c = int(match[1]), int(match[3]), int(match[4])
    sign = {"×": "*", "÷": "/"}.get(match[2], match[2])
    true = {"+": a + b == c, "-": a - b == c, "*": a * b == c, "/": b > 0 and a == b * c}[sign]
    if sign in "+*":
        a, b = min(a, b), max(a, b)
    return (a, sign, b, c) if true else None
