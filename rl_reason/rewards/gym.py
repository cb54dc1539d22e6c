"""Answers to problems of the package `reasoning-gym`, by the verifiers of their tasks (`gym_tasks`).

A problem has `entry`: the name of its `task`, the `settings` that it was made with, and the package's `metadata`. No
verifier evaluates an answer: where the package's does, or can be satisfied by any answer, one of those below stands for
it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from fractions import Fraction

from rl_reason import gym_tasks
from rl_reason.errors import UsageError
from rl_reason.rewards.arithmetic import work_out
from rl_reason.rewards.extraction import after_thought, final_answer, last_boxed, last_tagged
from rl_reason.rewards.numeric import parse_number
from rl_reason.rewards.verdict import UnparseableGold, Verdict, unparseable

LONGEST = 20_000
"""Characters of an answer. Some verifiers take time that grows with its square."""


def gym(completion: str, problem: Mapping) -> Verdict:
    """The score that the task's verifier gives to the final answer, from 0 to 1; 1 is correct. Parts of a solution have
    scores between, as the package's authors chose them.

    Raises:
        UnparseableGold: the problem is none of an allowed task.
    """
    scorer, entry = _judge(problem)
    answer = answer_of(completion)
    if answer is None or len(answer) > LONGEST:
        return unparseable(None)
    score = _score(scorer, answer, entry)
    if not math.isfinite(score):
        return unparseable(answer)
    return Verdict(score, "correct" if score >= 1 else "wrong", answer)


def answer_of(completion: str) -> str | None:
    """The final answer as `extraction.final_answer` finds it, but all that stands in the last `<answer>` tags where no
    box stands there: grids and moves have asterisks and lines of their own."""
    tagged = last_tagged(after_thought(completion) or "")
    if tagged is None:
        return final_answer(completion)
    boxed = last_boxed(tagged)
    return (tagged if boxed is None else boxed).strip() or None


def check_gold(problem: Mapping) -> None:
    """Raises `UnparseableGold` where the problem is none of an allowed task, or its verifier does not take the answer
    that the task gives."""
    scorer, entry = _judge(problem)
    score = _score(scorer, entry["answer"], entry)
    if not score >= 1:
        raise UnparseableGold(entry["answer"], f"its verifier gives it {score:g}")


def _judge(problem: Mapping) -> tuple[gym_tasks.Scorer, dict]:
    told = problem.get("entry")
    if not isinstance(told, Mapping) or not all(isinstance(told.get(key), dict) for key in ("settings", "metadata")):
        raise UnparseableGold(str(problem.get("answer")), "expected `entry`, which problems of gym:TASK have")
    try:
        if not isinstance(told.get("task"), str):
            raise UsageError(f"task={told.get('task')!r}: expected a name")
        gym_tasks.check_task(told["task"], f"task {told['task']!r}")
    except UsageError as error:
        raise UnparseableGold(problem["answer"], str(error)) from None
    scorer = VERIFIERS.get(told["task"])
    if scorer is None:
        try:
            scorer = gym_tasks.package_scorer(told["task"], tuple(sorted(told["settings"].items())))
        except (AssertionError, TypeError, ValueError) as error:
            raise UnparseableGold(problem["answer"], f"settings of {told['task']}: {error}") from None
    return scorer, {"question": problem["problem"], "answer": problem["answer"], "metadata": told["metadata"]}


def _score(scorer: gym_tasks.Scorer, answer: str, entry: Mapping) -> float:
    """NaN where the verifier fails: the package's do on many answers that they cannot read."""
    try:
        with gym_tasks.quiet():
            return float(scorer(answer, entry))
    except MemoryError:  # Not the answer's verdict but the worker's end.
        raise
    except Exception:
        return math.nan


def _countdown(answer: str, entry: Mapping) -> float:
    """All numbers, each once, make the target; scores as the package's."""
    return _arithmetic(answer, entry["metadata"]["numbers"], entry["metadata"]["target"], 0.05)


def _puzzle24(answer: str, entry: Mapping) -> float:
    return _arithmetic(answer, entry["metadata"]["numbers"], 24, 0.01)


def _arithmetic(answer: str, numbers: list[int], target: int, readable: float) -> float:
    try:
        value, used = work_out(answer)
    except ValueError:
        return 0.01
    return 1.0 if value == target and sorted(used) == sorted(numbers) else readable


def _same_words(answer: str, entry: Mapping) -> float:
    """Line by line. Without the package's tenth of the score for a list in Python's notation."""
    return float(_words(answer) == _words(entry["answer"]))


def _n_queens(answer: str, entry: Mapping) -> float:
    return float(_words(answer) in map(_words, entry["metadata"]["valid_answers"]))


def _words(text: str) -> list[list[str]]:
    return [line.split() for line in text.strip().split("\n")]


def _number_sorting(answer: str, entry: Mapping) -> float:
    numbers = _numbers(answer)
    return float(numbers is not None and numbers == _numbers(entry["answer"]))


def _numbers(text: str) -> list[Fraction | None] | None:
    """Those of a list of numbers or texts in JSON's notation, or with Python's quotes."""
    values = json.loads(text.replace("'", '"'))
    if not isinstance(values, list):
        return None
    numbers = [parse_number(str(value)) for value in values]
    return None if None in numbers else numbers


def _bitwise_arithmetic(answer: str, entry: Mapping) -> float:
    return float(int(answer, 0) == int(entry["answer"], 0))


def _coin_flip(answer: str, entry: Mapping) -> float:
    """Within the package's 1e-4 of the probability."""
    return float(abs(_probability(answer) - _probability(entry["answer"])) <= 1e-4)


def _probability(text: str) -> Fraction:
    if not re.fullmatch(r"[0-9]{1,20}(?:/[0-9]{1,20}|(?:\.[0-9]{1,40})?(?:e-[0-9]{1,2})?)|\.[0-9]{1,40}", text):
        raise ValueError("no probability")
    return Fraction(text)


def _complex_arithmetic(answer: str, entry: Mapping) -> float:
    """exp(−distance), as the package has it."""
    return math.exp(-abs(_complex(answer) - complex(*entry["metadata"]["result"])))


_COMPLEX = re.compile(
    r"(?P<real>[-+]?[0-9]{1,40}(?:\.[0-9]{1,40})?(?![0-9.]*[ij]))?"
    r"(?P<imaginary>[-+]?(?:[0-9]{1,40}(?:\.[0-9]{1,40})?)?[ij])?"
)


def _complex(text: str) -> complex:
    match = _COMPLEX.fullmatch(text.replace(" ", "").lower())
    if not match or not match[0]:
        raise ValueError("no complex number")
    imaginary = (match["imaginary"] or "0i")[:-1]
    return complex(float(match["real"] or 0), float(imaginary + "1" if imaginary in ("", "+", "-") else imaginary))


VERIFIERS: dict[str, gym_tasks.Scorer] = {
    **dict.fromkeys(
        ("arc_agi", "binary_matrix", "game_of_life_halting", "rearc", "spiral_matrix", "string_insertion"), _same_words
    ),
    "bitwise_arithmetic": _bitwise_arithmetic,
    "coin_flip": _coin_flip,
    "complex_arithmetic": _complex_arithmetic,
    "countdown": _countdown,
    "n_queens": _n_queens,
    "number_sorting": _number_sorting,
    "puzzle24": _puzzle24,
}
"""Task → its verifier, where it is not the package's."""

gym.check_gold = check_gold  # type: ignore[attr-defined]
gym.check = gym_tasks.check_package  # type: ignore[attr-defined]
gym.prepare = gym_tasks.load_package  # type: ignore[attr-defined]
