"""The gradient coefficients of DeepSeekMath's table, in numpy and in double precision, from the paper's formulas alone:
advantages are made of the rewards here, too. GC [B, T] of a case of `gradients`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from experiments.paradigm.gradients import CRITIC, Case

Array = np.ndarray


def one(case: Case, logprobs: Array) -> Array:
    return case.batch["mask"].astype(float)


def right(case: Case, logprobs: Array) -> Array:
    """I(o)."""
    return case.drawn["rewards"].astype(float)[:, None] * case.batch["mask"]


def preference(case: Case, logprobs: Array, of_mean: bool = False) -> Array:
    """±β σ(β m⁻ − β m⁺), m the sum over a completion's tokens of log π/π_ref, or its mean."""
    mask = case.batch["mask"]
    margins = np.sum((logprobs - case.tokens["reference_logprobs"]) * mask, axis=1)
    margins = margins / mask.sum(axis=1) if of_mean else margins
    chosen, rejected = margins[0::2], margins[1::2]  # the halves of a pair follow each other
    size = case.beta / (1 + np.exp(case.beta * (chosen - rejected)))
    return np.stack([size, -size], axis=1).reshape(-1, 1) * mask


def mean_preference(case: Case, logprobs: Array) -> Array:
    return preference(case, logprobs, of_mean=True)


def ppo(case: Case, logprobs: Array) -> Array:
    """A_t by GAE of rewards less β log π/π_ref of each token, whitened over the batch (`configs/ppo_math.py`)."""
    mask, values = case.batch["mask"], case.drawn["values"].astype(float)
    made = np.zeros(mask.shape)
    for row, length in enumerate(mask.sum(axis=1).astype(int)):
        later = 0.0
        for t in reversed(range(length)):
            reward = -case.beta * (logprobs[row, t] - case.drawn["reference_logprobs"][row, t])
            following = values[row, t + 1, 0] if t + 1 < length else 0.0
            reward += case.drawn["rewards"][row] if t + 1 == length else 0.0
            later = reward + CRITIC.gamma * following - values[row, t, 0] + CRITIC.gamma * CRITIC.gae_lambda * later
            made[row, t] = later
    tokens = made[mask > 0]
    return (made - tokens.mean()) / (tokens.std() + case.algorithm.eps) * mask


def grpo(case: Case, logprobs: Array) -> Array:
    """Â + β (π_ref/π − 1), Â = (r − mean)/std of the group."""
    algorithm = case.algorithm
    groups = case.drawn["rewards"].astype(float).reshape(-1, algorithm.group_size)
    spread = groups.std(axis=1, ddof=algorithm.ddof, keepdims=True) + algorithm.eps
    made = (groups - groups.mean(axis=1, keepdims=True)) / spread
    return _with_kl(case, logprobs, made.reshape(-1, 1))


def grpo_process(case: Case, logprobs: Array) -> Array:
    """The same, Â_t the sum of the steps' rewards from t on, normalized over all steps of the group."""
    algorithm, ends = case.algorithm, case.drawn["ends"] > 0
    made = np.zeros(ends.shape)
    for first in range(0, len(ends), algorithm.group_size):
        group = slice(first, first + algorithm.group_size)
        rewards = case.drawn["steps"][group].astype(float)
        of_steps = rewards[ends[group]]
        scaled = (rewards - of_steps.mean()) / (of_steps.std(ddof=algorithm.ddof) + algorithm.eps) * ends[group]
        made[group] = np.cumsum(scaled[:, ::-1], axis=1)[:, ::-1]
    return _with_kl(case, logprobs, made)


def _with_kl(case: Case, logprobs: Array, advantages: Array) -> Array:
    ratio = np.exp(case.drawn["reference_logprobs"] - logprobs)
    return (advantages + case.beta * (ratio - 1)) * case.batch["mask"]


OF: dict[str, Callable[[Case, Array], Array]] = {
    "sft": one,
    "rft": right,
    "online_rft": right,
    "dpo": preference,
    "dpo_mean": mean_preference,
    "ppo": ppo,
    "grpo": grpo,
    "grpo_iterative": grpo,
    "grpo_process": grpo_process,
}
