"""Advantages and value losses of PPO against sums written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_reason.objectives.gae import estimate_advantages
from rl_reason.objectives.value import explained_variance, value_loss

LENGTHS = (7, 1, 4, 9, 2)
WIDTH = 9


def make(seed):
    rng = np.random.default_rng(seed)
    rewards, values = rng.normal(size=(2, len(LENGTHS), WIDTH)).astype(np.float32)
    after = np.array([0, 0.7, 0, -1.2, 0], np.float32)  # the second and the fourth were cut off
    mask = (np.arange(WIDTH)[None] < np.array(LENGTHS)[:, None]).astype(np.float32)
    return rewards, values, after, mask


@pytest.mark.parametrize("gamma, decay", [(1.0, 0.95), (1.0, 1.0), (0.9, 0.8), (0.99, 0.0)])
def test_advantages_are_the_sum_over_errors_to_come(gamma, decay):
    rewards, values, after, mask = make(0)
    advantages, returns = estimate_advantages(rewards, values, after, mask, gamma, decay)
    for b, n in enumerate(LENGTHS):
        following = [*values[b, 1:n], after[b]]
        errors = [rewards[b, t] + gamma * following[t] - values[b, t] for t in range(n)]
        for t in range(n):
            expected = sum((gamma * decay) ** (s - t) * errors[s] for s in range(t, n))
            np.testing.assert_allclose(advantages[b, t], expected, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(returns[b, t], expected + values[b, t], rtol=1e-5, atol=1e-6)
        assert not advantages[b, n:].any() and not returns[b, n:].any()


def test_without_decay_returns_are_what_is_still_to_come():
    """λ = 1: whatever the critic says, the return is Σ γ^l r_{t+l}, and γ^n times what is expected behind."""
    rewards, values, after, mask = make(1)
    _, returns = estimate_advantages(rewards, values, after, mask, 0.9, 1.0)
    for b, n in enumerate(LENGTHS):
        for t in range(n):
            expected = sum(0.9 ** (s - t) * rewards[b, s] for s in range(t, n)) + 0.9 ** (n - t) * after[b]
            np.testing.assert_allclose(returns[b, t], expected, rtol=1e-5, atol=1e-6)


def test_what_stands_behind_a_completion_does_not_matter():
    rewards, values, after, mask = make(2)
    made = estimate_advantages(rewards, values, after, mask, 1.0, 0.9)
    wild = np.where(mask > 0, 0, 1e6).astype(np.float32)
    again = estimate_advantages(rewards + wild, values - wild, after, mask, 1.0, 0.9)
    np.testing.assert_array_equal(made, again)


@pytest.mark.parametrize("clip", [0.0, 0.2])
def test_value_loss(clip):
    rng = np.random.default_rng(3)
    values, old, returns = rng.normal(0, 0.4, (3, 200))
    made, is_clipped = value_loss(jnp.array(values), jnp.array(old), jnp.array(returns), clip)

    def transcribed(v, i):
        plain = (v - returns[i]) ** 2
        if not clip:
            return plain / 2
        near = (min(max(v, old[i] - clip), old[i] + clip) - returns[i]) ** 2
        return max(plain, near) / 2

    expected = [transcribed(values[i], i) for i in range(200)]
    np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-7)
    gradient = jax.grad(lambda v: value_loss(v, jnp.array(old), jnp.array(returns), clip)[0].sum())(jnp.array(values))
    h = 1e-6
    slopes = [(transcribed(values[i] + h, i) - transcribed(values[i] - h, i)) / (2 * h) for i in range(200)]
    np.testing.assert_allclose(gradient, slopes, rtol=1e-4, atol=1e-5)
    assert is_clipped.any() == bool(clip) and not np.asarray(gradient)[np.asarray(is_clipped)].any()


def test_explained_variance():
    rng = np.random.default_rng(4)
    _, values, _, mask = make(4)
    returns = values + rng.normal(0, 0.5, values.shape)
    inside = mask > 0
    expected = 1 - np.var((returns - values)[inside]) / np.var(returns[inside])
    np.testing.assert_allclose(explained_variance(values, returns, mask), expected, rtol=1e-4)
    np.testing.assert_allclose(explained_variance(returns, returns, mask), 1.0)
    assert np.isnan(explained_variance(values, np.ones_like(values), mask))
