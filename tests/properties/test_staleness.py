"""What is sampled one step ahead: the gradient that the recipe computes of it, written out in numpy.

π_b sampled; one update later the policy is π_prox, by which the step begins; π is what its updates have made of it. A
token's coefficient is min(π_prox/π_b, C) · d/dlog π of min(r A, clip(r, 1 − ε, 1 + ε) A), r = π/π_prox."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.paradigm import gradients
from experiments.paradigm.gradients import Sizes, difference, plain_logprobs, policy_gradient
from rl_reason import settings
from rl_reason.recipes.completions import make_score

LIMIT, SIZES = 1.1, Sizes()
ALGORITHM = settings.Algorithm(
    group_size=SIZES.group, kl_coef=0.0, clip_low=0.1, clip_high=0.15,
    correction="token_truncate", correction_limit=LIMIT,
)  # fmt: skip


def rollout(seed):
    rng = np.random.default_rng(seed)
    return gradients.rollout(rng, SIZES), rng


def moved(params, seed):
    """Weights a small update away."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: (x + 0.01 * rng.normal(size=x.shape)).astype(np.float32), params)


def coefficients(logprobs, proximal, sampler, batch):
    """Of each token, float64, with loops; and how many tokens stand at the limit, and how many are clipped."""
    made, limited, clipped = np.zeros(batch["mask"].shape), 0, 0
    for i, row in enumerate(batch["mask"]):
        for t in range(int(row.sum())):
            A = float(batch["advantages"][i])
            ratio = np.exp(float(logprobs[i, t]) - float(proximal[i, t]))
            weight = np.exp(float(proximal[i, t]) - float(sampler[i, t]))
            is_clipped = (ratio > 1.15 and A > 0) or (ratio < 0.9 and A < 0)
            made[i, t] = 0 if is_clipped else min(weight, LIMIT) * ratio * A
            limited, clipped = limited + (weight > LIMIT), clipped + is_clipped
    return made, limited, clipped


@pytest.mark.parametrize("is_first", [True, False], ids=["the only update", "behind others"])
def test_the_gradient_of_what_was_sampled_ahead(is_first, describe, params):
    model, score = describe(), make_score(describe(), 1.0, 0)
    batch, rng = rollout(0)
    proximal_params = moved(params, 1)
    here = proximal_params if is_first else moved(proximal_params, 2)
    sampler, proximal, logprobs = (score(p, batch) for p in (params, proximal_params, here))
    batch |= {"sampler_logprobs": sampler, "advantages": rng.normal(size=len(sampler)).astype(np.float32)}
    if not is_first:  # Of the only update the trainer does not compute them a second time.
        batch["old_logprobs"] = proximal
    coefficient, limited, clipped = coefficients(logprobs, proximal, sampler, batch)
    assert 0.1 < limited / batch["mask"].sum() < 0.9 and (clipped > 0) == (not is_first)

    shares = batch["mask"] / batch["mask"].sum(axis=1, keepdims=True) / len(sampler)
    _, pull_back = jax.vjp(lambda p: plain_logprobs(p, model, batch), here)
    gradient, sums = policy_gradient(model, here, ALGORITHM, SIZES)(batch)
    assert difference(gradient, pull_back((shares * coefficient).astype(np.float32))[0]) < 1e-5
    assert sums["ratio/correction_limited"] == limited and sums["ratio/clipped"] == clipped
    apart = np.abs(proximal - sampler)
    np.testing.assert_allclose(sums["logprob_difference/max"], apart.max(), rtol=1e-4)
    np.testing.assert_allclose(sums["logprob_difference/mean"], apart.sum(), rtol=1e-4)


def test_without_the_correction_it_is_another_gradient(describe, params):
    """The test above would see it."""
    batch, rng = rollout(0)
    here = moved(params, 1)
    sampler = make_score(describe(), 1.0, 0)(params, batch)
    batch |= {"sampler_logprobs": sampler, "advantages": rng.normal(size=len(sampler)).astype(np.float32)}
    plain = dataclasses.replace(ALGORITHM, correction="none")
    corrected, other = (policy_gradient(describe(), here, one, SIZES)(batch)[0] for one in (ALGORITHM, plain))
    assert difference(corrected, jax.tree.map(np.negative, other)) > 1e-2
