"""Rewards: functions `(completion: str, problem: Mapping) -> float | Verdict` of text, run in worker processes.

Rewards of steps are functions `(steps: list[str], problem: Mapping) -> list[float]`.

A reward may have attributes: `check(key)` is called where a run or command starts, and raises `UsageError` where the
reward cannot work on this machine; `prepare()` is called in each worker, before any time limit runs; one with
`own_limit`, the seconds that it takes by default, keeps the time limit itself, and gets it as a third argument.
"""

from __future__ import annotations

from rl_reason.rewards.code import code, code_unisolated
from rl_reason.rewards.format import format_reward
from rl_reason.rewards.math import accuracy
from rl_reason.rewards.numeric import number
from rl_reason.rewards.steps import calculations
from rl_reason.rewards.verdict import VERDICTS, Verdict

REWARDS = {
    "accuracy": accuracy,
    "math": accuracy,
    "number": number,
    "format": format_reward,
    "code": code,
    "code_unisolated": code_unisolated,
}
"""Short names. `accuracy`, also called `math`: mathematical equality; `number`: equality of exact numbers, which is
faster; `format`: the tags; `code`: programs, by their tests, in a sandbox; `code_unisolated`: without its walls."""

STEP_REWARDS = {"calculations": calculations}
"""Short names. `calculations`: exact, of problems whose solutions are lists of calculations."""

__all__ = [
    "REWARDS",
    "STEP_REWARDS",
    "VERDICTS",
    "Verdict",
    "accuracy",
    "calculations",
    "code",
    "code_unisolated",
    "format_reward",
    "number",
]
