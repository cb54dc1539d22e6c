"""Losses, gradients and advantages of GRPO and its relatives against the printed formulas, in float64 with loops."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_reason import presets, settings
from rl_reason.objectives.advantages import group_relative, leave_one_out, process_relative, whiten
from rl_reason.objectives.kl import estimate, k3
from rl_reason.objectives.policy_loss import PolicyLoss
from rl_reason.objectives.reductions import token_weights
from rl_reason.presets import PRESETS
from rl_reason.recipes.checks.policy_gradient import check_policy_gradient

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


def entropies(new):
    """Any function of the log-probabilities will do."""
    return -new * np.exp(new)


def samplers(old):
    """Log-probabilities as a sampler that rounds would compute them; some far off."""
    rng = np.random.default_rng(5)
    return old + rng.normal(0, 0.3, old.shape) * (rng.random(old.shape) < 0.5)


def ratio_of(level, new, old, i, t, at):
    """π/π_old of token t of completion i: its own, or the completion's product or geometric mean.

    `at` is the policy where the gradient is taken, of what no gradient flows through."""
    n = LENGTHS[i]
    if level == "token":
        return math.exp(new[i, t] - old[i, t])
    if level == "sequence_token":
        return ratio_of("sequence_mean", at, old, i, t, at) * math.exp(new[i, t]) / math.exp(at[i, t])
    product = 1.0
    for s in range(n):
        product *= math.exp(new[i, s]) / math.exp(old[i, s])
    return product if level == "sequence" else product ** (1 / n)


def correction_of(kind, limit, old, i, t):
    """π_old/π_sampler, of the token or of its completion, with a limit."""
    if kind == "none":
        return 1.0
    places = range(LENGTHS[i]) if kind.startswith("sequence") else [t]
    weight = math.exp(sum(old[i, s] - samplers(old)[i, s] for s in places))
    return weight if weight <= limit else limit if kind.endswith("truncate") else 0.0


def surrogate_of(kind, ratio, frozen_ratio, logprob, A, low, high, dual):
    if kind == "cispo":
        return min(max(frozen_ratio, 1 - low), 1 + high) * A * logprob
    if kind == "sapo":
        temperature = 1.0 if A > 0 else 1.05
        return 4 / temperature / (1 + math.exp(-temperature * (ratio - 1))) * A
    made = min(ratio * A, min(max(ratio, 1 - low), 1 + high) * A)
    return max(made, dual * A) if dual and A < 0 else made


def kl_of(kind, new, reference, ratio):
    log_ratio = new - reference
    rho = math.exp(-log_ratio)
    k3 = rho - math.log(rho) - 1
    return {"k1": log_ratio, "k2": log_ratio**2 / 2, "k3": k3, "k3_weighted": ratio * k3}[kind]


def transcription(
    new, old, reference, *, low=0.2, high=0.2, beta=0.0, level="token", reduction="sequence_mean", surrogate="clip",
    dual=0.0, estimator="k3", entropy=0.0, correction="none", limit=2.0, at=None,
):  # fmt: skip
    """−J, loops over completions i and tokens t."""
    G, at = len(LENGTHS), new if at is None else at
    tokens = sum(LENGTHS)
    loss = 0.0
    for i, n in enumerate(LENGTHS):
        for t in range(n):
            A = ADVANTAGES[i]
            ratio = ratio_of(level, new, old, i, t, at)
            frozen = ratio_of(level, at, old, i, t, at)
            made = surrogate_of(surrogate, ratio, frozen, new[i, t], A, low, high, dual)
            made *= correction_of(correction, limit, old, i, t)
            if beta:
                made -= beta * kl_of(estimator, new[i, t], reference[i, t], ratio)
            made += entropy * entropies(new)[i, t]
            share = {"sequence_mean": 1 / G / n, "sequence_sum": 1 / G, "token_mean": 1 / tokens}
            loss -= share.get(reduction, 1 / (G * LIMIT)) * made
    return loss


def ours(
    new, old, reference, *, low=0.2, high=0.2, beta=0.0, level="token", reduction="sequence_mean", surrogate="clip",
    dual=0.0, estimator="k3", entropy=0.0, correction="none", limit=2.0,
):  # fmt: skip
    """Loss and gradient by the log-probabilities of the policy."""
    weights, denominator = token_weights(jnp.asarray(mask()), reduction, LIMIT)
    f32 = lambda x: jnp.asarray(x, jnp.float32)  # noqa: E731
    policy_loss = PolicyLoss(
        surrogate=surrogate, ratio_level=level, clip_low=low, clip_high=high, dual_clip=dual, kl_coef=beta,
        kl_estimator=estimator, entropy_coef=entropy, correction=correction, correction_limit=limit,
    )  # fmt: skip

    def loss(logprobs):
        total, _ = policy_loss(
            logprobs,
            f32(old),
            f32(reference) if beta else None,
            f32(samplers(old)),
            -logprobs * jnp.exp(logprobs),
            f32(ADVANTAGES)[:, None],
            jnp.asarray(mask()),
            jnp.asarray(mask(), jnp.int32),
            weights,
        )
        return total / denominator

    return jax.jit(jax.value_and_grad(loss))(f32(new))


def finite_differences(new, old, reference, h=1e-5, **options):
    gradient = np.zeros_like(new)
    options = {**options, "at": new}
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
    {"low": 0.05, "high": 0.1, "beta": 0.0, "level": "sequence_token"},
    {"low": 0.2, "high": 0.2, "beta": 0.0, "dual": 1.4},
    {"low": 1.0, "high": 0.3, "beta": 0.0, "surrogate": "cispo", "reduction": "token_mean"},
    {"low": 0.2, "high": 0.3, "beta": 0.1, "surrogate": "cispo"},
    {"low": 0.2, "high": 0.2, "beta": 0.0, "surrogate": "sapo"},
    {"low": 0.2, "high": 0.2, "beta": 0.3, "estimator": "k1"},
    {"low": 0.2, "high": 0.2, "beta": 0.3, "estimator": "k2"},
    {"low": 0.2, "high": 0.2, "beta": 0.3, "estimator": "k3_weighted"},
    {"low": 0.2, "high": 0.2, "beta": 0.0, "entropy": 0.7},
    {"low": 0.2, "high": 0.2, "beta": 0.1, "correction": "token_truncate", "limit": 1.2},
    {"low": 0.2, "high": 0.2, "beta": 0.0, "correction": "token_mask", "limit": 1.2},
    {"low": 0.2, "high": 0.2, "beta": 0.1, "correction": "sequence_truncate", "limit": 1.2},
    {"low": 0.2, "high": 0.2, "beta": 0.0, "correction": "sequence_mask", "limit": 1.2},
]


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_go_together(preset):
    """What they compute is compared in `test_preset_formulas.py`."""
    config = settings.defaults()
    config.sampling.batch_size = 0
    presets.apply(config, preset)
    check_policy_gradient(settings.Settings.from_config(config))


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values())))
def test_loss_and_gradient(case):
    new, old, reference = batch()
    level = case.get("level", "token")
    ratios = [(ratio_of(level, new, old, i, t, new), ADVANTAGES[i]) for i, n in enumerate(LENGTHS) for t in range(n)]
    # All four corners are there, and no ratio stands on a kink, where there is no derivative.
    corners = {(r > 1 + case["high"], A > 0) for r, A in ratios if A and not 1 - case["low"] < r < 1 + case["high"]}
    assert len(corners) == 4 or level != "token" or case["low"] == 1
    assert {True, False} <= {inside for inside, _ in corners} or case["low"] == 1
    edges = (1 - case["low"], 1 + case["high"], case.get("dual", 0))
    assert all(abs(r - edge) > 1e-3 for r, _ in ratios for edge in edges)
    # The limit of the correction is met by some.
    tokens = [(i, t) for i, n in enumerate(LENGTHS) for t in range(n)]
    if kind := case.get("correction"):
        limit = case["limit"] if kind.endswith("truncate") else 0
        at_limit = [correction_of(kind, case["limit"], old, i, t) == limit for i, t in tokens]
        assert any(at_limit) and not all(at_limit)

    value, gradient = ours(new, old, reference, **case)
    np.testing.assert_allclose(float(value), transcription(new, old, reference, **case), rtol=1e-5)
    expected = finite_differences(new, old, reference, **case)
    np.testing.assert_allclose(gradient, expected, atol=2e-6, rtol=2e-4)
    assert np.abs(expected).max() > 0.01
    assert not np.asarray(gradient)[mask() == 0].any()


@pytest.mark.parametrize("level", ["token", "sequence", "sequence_mean", "sequence_token"])
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
    _, sums = PolicyLoss(clip_low=0.2, clip_high=0.3, kl_coef=0.1)(
        f32(new), f32(old), f32(reference), f32(samplers(old)), f32(entropies(new)), f32(ADVANTAGES)[:, None],
        f32(mask()), jnp.asarray(mask(), jnp.int32), weights,
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


def test_gspo_token_gives_each_token_its_own_advantage():
    """With the same advantage for all tokens it is GSPO; with others, each weighs its own log-probability."""
    new, old, _ = batch(spread=0.02)
    weights = jnp.asarray(mask())
    f32 = lambda x: jnp.asarray(x, jnp.float32)  # noqa: E731

    def gradient(level, advantages):
        loss = PolicyLoss(ratio_level=level, clip_low=9.0, clip_high=9.0)
        of = lambda x: loss(  # noqa: E731
            x, f32(old), None, f32(old), x, advantages, f32(mask()), jnp.asarray(mask(), jnp.int32), weights
        )[0]
        return np.asarray(jax.grad(of)(f32(new)))

    same = f32(np.tile(np.array(ADVANTAGES)[:, None], (1, WIDTH)))
    np.testing.assert_allclose(gradient("sequence_token", same), gradient("sequence_mean", same), rtol=1e-4, atol=1e-7)
    other = same * jnp.arange(WIDTH)[None]
    expected = np.zeros_like(new)
    for i, n in enumerate(LENGTHS):
        for t in range(n):
            expected[i, t] = -ratio_of("sequence_mean", new, old, i, t, new) * ADVANTAGES[i] * t
    np.testing.assert_allclose(gradient("sequence_token", other), expected, rtol=1e-4, atol=1e-6)
    assert np.abs(gradient("sequence_mean", other) - expected).max() > 0.1


def test_leave_one_out():
    rewards = np.random.default_rng(3).normal(size=(4, 5))
    expected = [[r - np.mean(np.delete(row, g)) for g, r in enumerate(row)] for row in rewards]
    np.testing.assert_allclose(leave_one_out(jnp.asarray(rewards, jnp.float32)), expected, rtol=1e-4, atol=1e-6)


def test_leave_one_out_with_the_spread_of_the_others():
    rewards = np.random.default_rng(3).normal(size=(4, 5)).astype(np.float32)
    rewards[3] = [0.35, 0.35, 0.35, 0.35, 1.35]
    made = np.asarray(leave_one_out(jnp.asarray(rewards), normalize=True, eps=1e-3))
    for q, row in enumerate(rewards):
        for g, r in enumerate(row):
            others = np.delete(row.astype(np.float64), g)
            spread = others.std(ddof=1)
            expected = (r - others.mean()) / (spread + 1e-3) if len(set(others)) > 1 else r - others.mean()
            assert made[q, g] == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert made[3, 4] == pytest.approx(1.0, rel=1e-5)  # The others are equal: not divided by nothing.


@pytest.mark.parametrize("ddof", [0, 1])
def test_process_supervision(ddof):
    """DeepSeekMath, section 4.1.3, with loops: R are the rewards of all steps of a group."""
    rng = np.random.default_rng(6)
    ends = (rng.random((3, 4, WIDTH)) < 0.3).astype(np.float32)
    ends[..., 0] = 1
    rewards = (rng.normal(size=ends.shape) * ends).astype(np.float32)
    rewards[2] = 0.1 * ends[2]  # all equal
    made = np.asarray(process_relative(jnp.asarray(rewards), jnp.asarray(ends), ddof, 1e-6))
    for q in range(3):
        R = [float(rewards[q, g, t]) for g in range(4) for t in range(WIDTH) if ends[q, g, t]]
        mean = sum(R) / len(R)
        std = math.sqrt(sum((r - mean) ** 2 for r in R) / (len(R) - ddof))
        for g, t in itertools.product(range(4), range(WIDTH)):
            steps = [j for j in range(t, WIDTH) if ends[q, g, j]]
            expected = sum((rewards[q, g, j] - mean) / (std + 1e-6) for j in steps) if q < 2 else 0.0
            assert made[q, g, t] == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert not made[2].any()


def test_whitening_counts_tokens():
    rng = np.random.default_rng(4)
    x, inside = rng.normal(2, 3, (8, 9)), mask() > 0
    expected = np.where(inside, (x - x[inside].mean()) / (x[inside].std() + 1e-6), 0)
    made = np.asarray(whiten(jnp.asarray(np.where(inside, x, 99), jnp.float32), jnp.asarray(mask())))
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)
    assert not np.asarray(whiten(jnp.full((8, 9), 0.1), jnp.asarray(mask()))).any()


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


def test_estimates_with_a_limit():
    """verl's and NeMo-RL's: what lies beyond counts as the limit, without a gradient."""
    logprobs, reference = jnp.asarray([-5.0, -1.0, -0.1]), jnp.asarray([-1.0, -1.5, -0.1])
    made = lambda x, name: estimate(name, x, reference, 2 * jnp.ones(3), 10.0)  # noqa: E731
    np.testing.assert_allclose(made(logprobs, "k3"), [10, math.exp(-0.5) + 0.5 - 1, 0], rtol=1e-5)
    np.testing.assert_allclose(made(logprobs, "k3_weighted")[0], 20)
    np.testing.assert_allclose(made(logprobs - 20, "k1"), [-10, -10, -10])
    gradient = jax.grad(lambda x: jnp.sum(made(x, "k3")))(logprobs)
    assert gradient[0] == 0 and gradient[1] == pytest.approx(1 - math.exp(-0.5), rel=1e-5)


def test_k3_is_an_unbiased_estimate_of_the_divergence():
    """Σ π k3 = KL(π ‖ π_ref), exactly, over a small vocabulary."""
    rng = np.random.default_rng(4)
    policy, reference = (np.log(rng.dirichlet(np.ones(12))) for _ in range(2))
    made = float(jnp.sum(jnp.exp(policy) * k3(jnp.asarray(policy), jnp.asarray(reference))))
    assert made == pytest.approx(float(np.sum(np.exp(policy) * (policy - reference))), rel=1e-4)
