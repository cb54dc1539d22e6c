"""GRPO's loss, gradient and advantages against the printed formulas, in plain float64 numpy with loops."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_reason.objectives.advantages import group_relative
from rl_reason.objectives.grpo import grpo_loss
from rl_reason.objectives.kl import k3
from rl_reason.objectives.reductions import token_weights

LENGTHS = (7, 1, 4, 6, 3, 7, 5, 2)
WIDTH = 9
LIMIT = 16
ADVANTAGES = (1.3, -0.7, -1.1, 0.4, 0.0, -0.2, 0.9, 1.0)


def batch(seed=0, spread=0.35):
    """Log-probabilities of the policy, of the one that sampled and of the reference, float64 [8, 9]."""
    rng = np.random.default_rng(seed)
    old = -rng.exponential(1.0, (len(LENGTHS), WIDTH)) - 0.05
    new = old + rng.normal(0, spread, old.shape)
    reference = old + rng.normal(0, 0.5, old.shape)
    return new, old, reference


def mask():
    return (np.arange(WIDTH)[None] < np.array(LENGTHS)[:, None]).astype(np.float32)


def ratio_of(level, new, old, i, t):
    """π/π_old of token t of completion i: its own, or the completion's product or geometric mean."""
    n = LENGTHS[i]
    if level == "token":
        return math.exp(new[i, t] - old[i, t])
    product = 1.0
    for s in range(n):
        product *= math.exp(new[i, s]) / math.exp(old[i, s])
    return product if level == "sequence" else product ** (1 / n)


def transcription(new, old, reference, *, low, high, beta, level="token", reduction="sequence_mean"):
    """−J of DeepSeekMath's equation 3, or with another reduction; loops over completions i and tokens t."""
    G = len(LENGTHS)
    tokens = sum(LENGTHS)
    loss = 0.0
    for i, n in enumerate(LENGTHS):
        for t in range(n):
            A = ADVANTAGES[i]
            r = ratio_of(level, new, old, i, t)
            surrogate = min(r * A, min(max(r, 1 - low), 1 + high) * A)
            kl = 0.0
            if beta:
                rho = math.exp(reference[i, t]) / math.exp(new[i, t])
                kl = rho - math.log(rho) - 1
            share = {"sequence_mean": 1 / G / n, "token_mean": 1 / tokens, "length_normalized": 1 / (G * LIMIT)}
            loss -= share[reduction] * (surrogate - beta * kl)
    return loss


def ours(new, old, reference, *, low, high, beta, level="token", reduction="sequence_mean"):
    """Loss and gradient by the log-probabilities of the policy."""
    weights, denominator = token_weights(jnp.asarray(mask()), reduction, LIMIT)

    def loss(logprobs):
        total, _ = grpo_loss(
            logprobs,
            jnp.asarray(old, jnp.float32),
            jnp.asarray(reference, jnp.float32) if beta else None,
            jnp.asarray(ADVANTAGES, jnp.float32)[:, None],
            jnp.asarray(mask()),
            jnp.asarray(mask(), jnp.int32),
            weights,
            clip_low=low,
            clip_high=high,
            kl_coef=beta,
            ratio_level=level,
        )
        return total / denominator

    return jax.jit(jax.value_and_grad(loss))(jnp.asarray(new, jnp.float32))


def finite_differences(new, old, reference, h=1e-5, **options):
    gradient = np.zeros_like(new)
    for i, t in np.ndindex(*new.shape):
        up, down = new.copy(), new.copy()
        up[i, t] += h
        down[i, t] -= h
        gradient[i, t] = transcription(up, old, reference, **options) - transcription(down, old, reference, **options)
    return gradient / (2 * h)


CASES = [
    {"low": 0.2, "high": 0.2, "beta": 0.04},
    {"low": 0.1, "high": 0.4, "beta": 0.5},
    {"low": 0.2, "high": 0.28, "beta": 0.0, "reduction": "token_mean"},
    {"low": 0.2, "high": 0.2, "beta": 0.1, "reduction": "length_normalized"},
    {"low": 0.3, "high": 0.1, "beta": 0.04, "level": "sequence"},
    {"low": 0.1, "high": 0.05, "beta": 0.0, "level": "sequence_mean", "reduction": "token_mean"},
    {"low": 0.05, "high": 0.1, "beta": 0.2, "level": "sequence_mean"},
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values())))
def test_loss_and_gradient(case):
    new, old, reference = batch()
    level = case.get("level", "token")
    ratios = [(ratio_of(level, new, old, i, t), ADVANTAGES[i]) for i, n in enumerate(LENGTHS) for t in range(n)]
    # All four corners are there, and no ratio stands on a kink, where there is no derivative.
    corners = {(r > 1 + case["high"], A > 0) for r, A in ratios if A and not 1 - case["low"] < r < 1 + case["high"]}
    assert len(corners) == 4 or level != "token"
    assert {True, False} <= {inside for inside, _ in corners}
    assert all(abs(r - edge) > 1e-3 for r, _ in ratios for edge in (1 - case["low"], 1 + case["high"]))

    value, gradient = ours(new, old, reference, **case)
    np.testing.assert_allclose(float(value), transcription(new, old, reference, **case), rtol=1e-5)
    expected = finite_differences(new, old, reference, **case)
    np.testing.assert_allclose(gradient, expected, atol=2e-6, rtol=2e-4)
    assert np.abs(expected).max() > 0.01
    assert not np.asarray(gradient)[mask() == 0].any()


@pytest.mark.parametrize("level", ["token", "sequence", "sequence_mean"])
def test_what_stands_behind_a_completion_plays_no_part(level):
    new, old, reference = batch()
    case = {"low": 0.2, "high": 0.2, "beta": 0.04, "level": level}
    value, gradient = ours(new, old, reference, **case)
    for array, garbage in ((new, -3e3), (old, 4e3), (reference, -9e3)):
        array[mask() == 0] = garbage
    again, gradient_again = ours(new, old, reference, **case)
    assert float(value) == float(again)
    np.testing.assert_array_equal(gradient, gradient_again)


@pytest.mark.parametrize("beta", [0.0, 0.04, 1.0])
def test_gradient_coefficient_of_one_update(beta):
    """∂loss/∂log π = −1/G · 1/|o| · (Â + β (π_ref/π − 1)): DeepSeekMath's equation 21, with the ratio at 1."""
    new, _, reference = batch()
    _, gradient = ours(new, new, reference, low=0.2, high=0.2, beta=beta)
    for i, t in itertools.product(range(len(LENGTHS)), range(WIDTH)):
        coefficient = ADVANTAGES[i] + beta * (math.exp(reference[i, t] - new[i, t]) - 1)
        expected = -coefficient / len(LENGTHS) / LENGTHS[i] if t < LENGTHS[i] else 0.0
        assert gradient[i, t] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_sums_that_are_watched():
    new, old, reference = batch()
    weights, _ = token_weights(jnp.asarray(mask()), "sequence_mean", LIMIT)
    f32 = lambda x: jnp.asarray(x, jnp.float32)  # noqa: E731
    _, sums = grpo_loss(
        f32(new), f32(old), f32(reference), f32(ADVANTAGES)[:, None], f32(mask()),
        jnp.asarray(mask(), jnp.int32), weights,
        clip_low=0.2, clip_high=0.3, kl_coef=0.1,
    )  # fmt: skip
    clipped = ratios = kl = 0
    for i, n in enumerate(LENGTHS):
        for t in range(n):
            r, A = math.exp(new[i, t] - old[i, t]), ADVANTAGES[i]
            ratios += r
            clipped += min(max(r, 0.8), 1.3) * A < r * A
            rho = math.exp(reference[i, t] - new[i, t])
            kl += rho - math.log(rho) - 1
    assert clipped > 3
    assert float(sums["ratio/clipped"]) == clipped
    assert float(sums["ratio/mean"]) == pytest.approx(ratios, rel=1e-5)
    assert float(sums["kl/reference"]) == pytest.approx(kl, rel=1e-5)


@pytest.mark.parametrize(("ddof", "eps"), [(0, 1e-6), (1, 1e-4), (0, 0.5), (1, 1e-9)])
def test_advantages(ddof, eps):
    rewards = np.random.default_rng(1).normal(size=(5, 6))
    made = group_relative(jnp.asarray(rewards, jnp.float32), True, ddof, eps)
    centered = group_relative(jnp.asarray(rewards, jnp.float32), False, ddof, eps)
    for q, group in enumerate(rewards):
        mean = sum(group) / 6
        std = math.sqrt(sum((r - mean) ** 2 for r in group) / (6 - ddof))
        for g, r in enumerate(group):
            assert float(made[q, g]) == pytest.approx((r - mean) / (std + eps), rel=1e-4, abs=1e-5)
            assert float(centered[q, g]) == pytest.approx(r - mean, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("eps", [1e-4, 1e-6, 1e-9, 0.0])
@pytest.mark.parametrize("normalize", [True, False])
def test_a_group_of_equal_rewards_has_no_advantage(normalize, eps):
    """Exactly none: also where the mean of equal floats is not the float itself, and where ε is 0."""
    rewards = np.repeat(np.array([0.0, 1.0, 0.1, 0.7, -1.3, 1e3 + 0.1, 1 / 3], np.float32)[:, None], 7, axis=1)
    made = np.asarray(group_relative(jnp.asarray(rewards), normalize, 0, eps))
    np.testing.assert_array_equal(made, np.zeros_like(made))


def test_groups_do_not_mix():
    rewards = np.random.default_rng(2).normal(size=(4, 5)).astype(np.float32)
    made = np.asarray(group_relative(jnp.asarray(rewards)))
    for q in range(4):
        np.testing.assert_allclose(made[q : q + 1], group_relative(jnp.asarray(rewards[q : q + 1])), rtol=1e-5)
    # Rewards that are shifted and stretched together say the same.
    np.testing.assert_allclose(group_relative(jnp.asarray(3 * rewards - 2)), made, atol=1e-4)


def test_k3():
    rng = np.random.default_rng(3)
    logprobs = -rng.exponential(2.0, 1000)
    reference = logprobs + np.concatenate([rng.normal(0, 1e-4, 300), rng.normal(0, 1, 400), rng.uniform(-18, 18, 300)])
    made = np.asarray(k3(jnp.asarray(logprobs, jnp.float32), jnp.asarray(reference, jnp.float32)), np.float64)
    assert (made >= 0).all() and made.max() > 100
    log_rho = reference.astype(np.float32).astype(np.float64) - logprobs.astype(np.float32)
    np.testing.assert_allclose(made, np.expm1(log_rho) - log_rho, rtol=1e-3, atol=1e-6)


def test_k3_does_not_overflow():
    logprobs = jnp.asarray([-500.0, -0.1, -1e30, -1.0], jnp.float32)
    reference = jnp.asarray([-0.1, -500.0, -1.0, -1e30], jnp.float32)
    value, gradient = jax.value_and_grad(lambda x: jnp.sum(k3(x, reference)))(logprobs)
    assert np.isfinite(float(value)) and np.isfinite(np.asarray(gradient)).all()
    assert (np.asarray(k3(logprobs, reference)) >= 0).all()
    assert float(k3(logprobs, reference)[0]) == pytest.approx(math.exp(20) - 21, rel=1e-5)


def test_k3_is_an_unbiased_estimate_of_the_divergence():
    """Σ π k3 = KL(π ‖ π_ref), exactly, over a small vocabulary."""
    rng = np.random.default_rng(4)
    policy, reference = (np.log(rng.dirichlet(np.ones(12))) for _ in range(2))
    made = float(jnp.sum(jnp.exp(policy) * k3(jnp.asarray(policy), jnp.asarray(reference))))
    assert made == pytest.approx(float(np.sum(np.exp(policy) * (policy - reference))), rel=1e-4)
