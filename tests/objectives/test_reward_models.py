"""Losses of reward models against numpy and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_reason.objectives.reward_models import (
    classification_loss,
    preference_loss,
    preference_tangents,
    tangent_loss,
)

RNG = np.random.default_rng(0)
SCORES = RNG.normal(0, 3, (4, 7))
TARGETS = RNG.choice([0.0, 1.0, 0.3], (4, 7))
WEIGHTS = RNG.choice([0.0, 1.0], (4, 7))
CHOSEN, REJECTED = RNG.normal(0, 2, (2, 9))
SHARES = np.array([1.0, 1.0, 0.5, 0.9, 0.6, 0.0, 0.3, 1.0, 0.75])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def of_classification(scores):
    p = sigmoid(scores)
    return -(WEIGHTS * (TARGETS * np.log(p) + (1 - TARGETS) * np.log(1 - p))).sum()


def of_preference(chosen, rejected):
    margins = chosen - rejected
    return -(SHARES * np.log(sigmoid(margins)) + (1 - SHARES) * np.log(sigmoid(-margins))).sum()


def slopes_of(function, x, eps=1e-6):
    """Central differences in float64."""
    made = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = eps
        made[index] = (function(x + step) - function(x - step)) / (2 * eps)
    return made


def test_classification():
    loss = lambda s: classification_loss(s, jnp.asarray(TARGETS), jnp.asarray(WEIGHTS))  # noqa: E731
    (value, denominator), slopes = loss(jnp.asarray(SCORES)), jax.grad(lambda s: loss(s)[0])(jnp.asarray(SCORES))
    np.testing.assert_allclose(value, of_classification(SCORES), rtol=1e-5)
    assert float(denominator) == WEIGHTS.sum()
    np.testing.assert_allclose(slopes, slopes_of(of_classification, SCORES), atol=1e-5)


@pytest.mark.parametrize(("score", "target", "value"), [(1e4, 1.0, 0.0), (-1e4, 0.0, 0.0), (1e4, 0.0, 1e4)])
def test_scores_far_from_0(score, target, value):
    loss = lambda s: classification_loss(s, jnp.full(1, target), jnp.ones(1))[0]  # noqa: E731
    made, slope = jax.value_and_grad(loss)(jnp.full(1, score))
    assert float(made) == value and np.isfinite(slope).all()


def test_preference():
    shares = jnp.asarray(SHARES)
    value, count = preference_loss(jnp.asarray(CHOSEN), jnp.asarray(REJECTED), shares)
    np.testing.assert_allclose(value, of_preference(CHOSEN, REJECTED), rtol=1e-5)
    assert float(count) == 9
    by_chosen, by_rejected = jax.grad(lambda c, r: preference_loss(c, r, shares)[0], (0, 1))(
        jnp.asarray(CHOSEN), jnp.asarray(REJECTED)
    )
    np.testing.assert_allclose(by_chosen, slopes_of(lambda c: of_preference(c, REJECTED), CHOSEN), atol=1e-5)
    np.testing.assert_allclose(by_rejected, slopes_of(lambda r: of_preference(CHOSEN, r), REJECTED), atol=1e-5)
    # The identity behind soft labels: the gradient is σ(d) − p, which is 0 where the model says what the label says.
    np.testing.assert_allclose(by_chosen, sigmoid(CHOSEN - REJECTED) - SHARES, atol=1e-5)


def test_a_pair_the_other_way_round_has_the_same_loss():
    there = preference_loss(jnp.asarray(CHOSEN), jnp.asarray(REJECTED), jnp.asarray(SHARES))[0]
    back = preference_loss(jnp.asarray(REJECTED), jnp.asarray(CHOSEN), jnp.asarray(1 - SHARES))[0]
    assert float(there) == pytest.approx(float(back), rel=1e-6)


def test_margins_far_from_0():
    value, slope = jax.value_and_grad(lambda c: preference_loss(c, jnp.zeros(3), jnp.array([1.0, 0.0, 0.5]))[0])(
        jnp.array([1e4, 1e4, -1e4])
    )
    assert float(value) == 1.5e4 and slope.tolist() == [0.0, 1.0, -0.5]


def test_tangents_are_the_loss_in_value_and_in_gradient():
    """Each side by itself: the sides of a pair never meet in one function."""
    at, shares = jnp.stack([jnp.asarray(CHOSEN), jnp.asarray(REJECTED)], axis=1), jnp.asarray(SHARES)
    values, slopes = preference_tangents(at[:, 0], at[:, 1], shares)
    sides = [
        jax.value_and_grad(tangent_loss)(at[:, side], at[:, side], values[:, side], slopes[:, side]) for side in (0, 1)
    ]
    np.testing.assert_allclose(sum(value for value, _ in sides), of_preference(CHOSEN, REJECTED), rtol=1e-5)
    expected = jax.grad(lambda c, r: preference_loss(c, r, shares)[0], (0, 1))(at[:, 0], at[:, 1])
    for (_, made), theirs in zip(sides, expected, strict=True):
        np.testing.assert_allclose(made, theirs, rtol=1e-5)
