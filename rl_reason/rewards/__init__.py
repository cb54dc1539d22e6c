"""Rewards: functions `(completion: str, problem: Mapping) -> float | Verdict` of text, run in worker processes.

Rewards of steps are functions `(steps: list[str], problem: Mapping) -> list[float]`.
"""

from __future__ import annotations

from rl_reason.rewards.format import format_reward
from rl_reason.rewards.math import accuracy
from rl_reason.rewards.numeric import number
from rl_reason.rewards.steps import calculations
from rl_reason.rewards.verdict import VERDICTS, Verdict

REWARDS = {"accuracy": accuracy, "math": accuracy, "number": number, "format": format_reward}
"""Short names. `accuracy`, also called `math`: mathematical equality; `number`: equality of exact numbers, which is
faster; `format`: the tags."""

STEP_REWARDS = {"calculations": calculations}
"""Short names. `calculations`: exact, of problems whose solutions are lists of calculations."""

__all__ = ["REWARDS", "STEP_REWARDS", "VERDICTS", "Verdict", "accuracy", "calculations", "format_reward", "number"]
