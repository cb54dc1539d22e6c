"""Rewards: functions `(completion: str, problem: Mapping) -> float | Verdict` of text, run in worker processes."""

from __future__ import annotations

from collections.abc import Callable

from rl_reason.rewards.format import format_reward
from rl_reason.rewards.math import accuracy
from rl_reason.rewards.numeric import number
from rl_reason.rewards.verdict import VERDICTS, Verdict

REWARDS = {"accuracy": accuracy, "math": accuracy, "number": number, "format": format_reward}
"""Short names. `accuracy`, also called `math`: mathematical equality; `number`: equality of exact numbers, which is
faster; `format`: the tags."""

STEP_REWARDS: dict[str, Callable] = {}
"""Short names of functions `(steps: list[str], problem: Mapping) -> list[float]`, one reward a step."""

__all__ = ["REWARDS", "VERDICTS", "Verdict", "accuracy", "format_reward", "number"]
