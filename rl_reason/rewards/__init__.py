"""Rewards: functions `(completion: str, problem: Mapping) -> float | Verdict` of text, run in worker processes.

Rewards of steps are functions `(steps: list[str], problem: Mapping) -> list[float]`.

Attributes of a function are read where it has them: `check(key)` is called where a run or command starts, and raises
`UsageError` where the reward cannot work on this machine; `prepare()` makes a worker ready before any time limit runs;
`check_gold(problem)` raises `ValueError` where nothing can be judged by a problem; one with `own_limit`, the seconds
that it takes by default, keeps the time limit itself, gets it as a third argument, and is asked once of completions of
a problem that are the same.
"""

from __future__ import annotations

from rl_reason.rewards.boxed import boxed_exact
from rl_reason.rewards.choice import choice
from rl_reason.rewards.code import code, code_unisolated
from rl_reason.rewards.discretion import discretion
from rl_reason.rewards.format import format_reward
from rl_reason.rewards.geometry import geometry
from rl_reason.rewards.gym import gym
from rl_reason.rewards.language import language
from rl_reason.rewards.length import length
from rl_reason.rewards.math import accuracy
from rl_reason.rewards.numeric import marked_number, number
from rl_reason.rewards.repetition import repetition
from rl_reason.rewards.steps import calculations
from rl_reason.rewards.verdict import VERDICTS, Verdict

REWARDS = {
    "accuracy": accuracy,
    "math": accuracy,
    "number": number,
    "marked_number": marked_number,
    "choice": choice,
    "boxed_exact": boxed_exact,
    "discretion": discretion,
    "format": format_reward,
    "language": language,
    "repetition": repetition,
    "length": length,
    "gym": gym,
    "geometry": geometry,
    "code": code,
    "code_unisolated": code_unisolated,
}
"""Short names. Of answers: `accuracy`, also called `math`: mathematical equality; `number`: equality of exact numbers,
which is faster; `marked_number`: the same, and a text that marks none has none; `choice`: the letter of a multiple
choice; `boxed_exact`: equality of texts in a box; `gym`: problems of
`gym:TASK`, by the task's verifier; `geometry`: auxiliary constructions, by whether an engine proves the statement
with them; `code`: programs, by their tests, in a sandbox; `code_unisolated`: without its walls; `discretion`: whether a
small assistant keeps secrets and answers questions. Of the text: `format`: the tags; `language`: the share of words in
the language of the question; `repetition` and `length`: penalties from −1 to 0."""

STEP_REWARDS = {"calculations": calculations}
"""Short names. `calculations`: exact, of problems whose solutions are lists of calculations."""

__all__ = ["REWARDS", "STEP_REWARDS", "VERDICTS", "Verdict", "accuracy", "boxed_exact", "calculations", "choice"]
__all__ += ["code", "code_unisolated", "discretion", "format_reward", "geometry", "gym", "language", "length"]
__all__ += ["marked_number"]
__all__ += ["number", "repetition"]
