"""From rewards and a critic's values to advantages and returns."""

import numpy as np
import pytest

from rl_reason.recipes.critic import advantages_by_critic
from rl_reason.settings import Algorithm, Critic, Settings

LENGTHS = np.array([4, 1, 6, 3])
WIDTH = 6
BETA = 0.25
MASK = (np.arange(WIDTH)[None] < LENGTHS[:, None]).astype(np.float32)
FINISHED = np.array([True, False, False, True])
REWARDS = np.array([0.3, 1.1, 0.0, 1.0], np.float32)
"""Fractions, which stay what they are."""


def make(critic=None, algorithm=None, steps=None, values=None):
    rng = np.random.default_rng(0)
    old, reference, sampler = -rng.exponential(1.0, (3, *MASK.shape)).astype(np.float32)
    batch = {"mask": MASK, "sampler_logprobs": sampler, "old_logprobs": old, "reference_logprobs": reference}
    if values is None:
        values = rng.normal(size=(*MASK.shape, 2)).astype(np.float32)
    algorithm = {"advantage": "gae", "kl_in": "reward", "kl_estimator": "k1", "kl_coef": BETA} | (algorithm or {})
    critic = {"kind": "separate", "whiten": False} | (critic or {})
    settings = Settings(algorithm=Algorithm(**algorithm), critic=Critic(**critic))
    made, watched = advantages_by_critic(REWARDS, batch, values, FINISHED, settings, steps)
    return made, watched, batch, values


def rewards_of(batch, row, kl=True):
    """−β (log π_old − log π_ref) of each token, and the completion's reward at the last one."""
    n = LENGTHS[row]
    made = -BETA * (batch["old_logprobs"] - batch["reference_logprobs"])[row, :n] * kl
    made[-1] += REWARDS[row]
    return made


@pytest.mark.parametrize("kl_in", ["reward", "loss"])
def test_without_values_the_advantage_is_what_is_still_to_come(kl_in):
    values = np.zeros((*MASK.shape, 2), np.float32)
    made, watched, batch, _ = make({"gae_lambda": 1.0}, {"kl_in": kl_in}, values=values)
    for row, n in enumerate(LENGTHS):
        to_come = np.cumsum(rewards_of(batch, row, kl_in == "reward")[::-1])[::-1]
        np.testing.assert_allclose(made["advantages"][row, :n], to_come, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(made["returns"][row, :n], to_come, rtol=1e-5, atol=1e-6)
        assert not made["advantages"][row, n:].any()
    assert not made["old_values"].any() and watched["critic/explained_variance"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("bootstrap", [False, True])
def test_a_completion_that_was_cut_off_goes_on(bootstrap):
    """The last token's error: r − V, and the value behind it where it was cut off."""
    made, _, batch, values = make({"bootstrap": bootstrap, "gamma": 0.9})
    for row, n in enumerate(LENGTHS):
        behind = values[row, n - 1, 1] * (bootstrap and not FINISHED[row])
        expected = rewards_of(batch, row)[-1] + 0.9 * behind - values[row, n - 1, 0]
        np.testing.assert_allclose(made["advantages"][row, n - 1], expected, rtol=1e-5, atol=1e-6)


def test_whitening_leaves_the_returns_alone():
    plain, watched, _, values = make()
    white, again, _, _ = make({"whiten": True})
    np.testing.assert_array_equal(white["returns"], plain["returns"])
    assert watched == again
    inside = MASK > 0
    raw = plain["advantages"][inside]
    np.testing.assert_allclose(white["advantages"][inside], (raw - raw.mean()) / raw.std(), rtol=1e-4, atol=1e-5)
    assert not white["advantages"][~inside].any()
    np.testing.assert_array_equal(white["old_values"], values[..., 0] * MASK)


def test_what_is_watched():
    made, watched, _, values = make()
    inside = MASK > 0
    returns, expected = made["returns"][inside], values[..., 0][inside]
    assert watched["critic/explained_variance"] == pytest.approx(1 - np.var(returns - expected) / np.var(returns), 1e-3)
    assert watched["critic/value"] == pytest.approx(expected.mean(), rel=1e-4)
    assert watched["critic/return"] == pytest.approx(returns.mean(), rel=1e-4)


def test_rewards_of_steps_stand_where_the_steps_end():
    ends = np.zeros_like(MASK)
    ends[[0, 0, 1, 2, 2, 3], [1, 3, 0, 2, 5, 2]] = 1
    given = ends * np.linspace(0.1, 2, MASK.size, dtype=np.float32).reshape(MASK.shape)
    values = np.zeros((*MASK.shape, 2), np.float32)
    made = make({"gae_lambda": 1.0}, {"kl_in": "loss"}, (given, ends), values)[0]
    to_come = np.cumsum(given[:, ::-1], axis=1)[:, ::-1] * MASK
    np.testing.assert_allclose(made["advantages"], to_come, rtol=1e-5, atol=1e-6)


def test_the_sampler_is_the_old_policy_where_there_is_one_update():
    made, _, batch, _ = make({"gae_lambda": 0.0, "gamma": 0.0})
    del batch["old_logprobs"]
    settings = Settings(
        algorithm=Algorithm(advantage="gae", kl_in="reward", kl_estimator="k1", kl_coef=BETA),
        critic=Critic(kind="separate", whiten=False, gae_lambda=0.0, gamma=0.0),
    )
    again, _ = advantages_by_critic(REWARDS, batch, np.zeros((*MASK.shape, 2), np.float32), FINISHED, settings)
    apart = (batch["sampler_logprobs"] - batch["reference_logprobs"])[2, :5]
    np.testing.assert_allclose(again["advantages"][2, :5], -BETA * apart, rtol=1e-5, atol=1e-6)
    assert np.abs(again["advantages"] - made["advantages"]).max() > 0.1
