"""Losses of models that give scores. Each returns a sum and what it is to be divided by."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def classification_loss(scores: jax.Array, targets: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """−Σ w · (y log σ(s) + (1 − y) log(1 − σ(s))) and Σ w: what outcome and process reward models are trained with.

    Let's Verify Step by Step (arXiv 2305.20050, section 2.6 and appendix E); with soft y, Math-Shepherd (arXiv
    2312.08935, equation 2).

    Args:
        scores: s, float32 of any shape.
        targets: y, 0 to 1, of the same.
        weights: w, 0 where no label stands.
    """
    return jnp.sum(weights * (jax.nn.softplus(scores) - targets * scores)), jnp.sum(weights)


def preference_loss(chosen_N: jax.Array, rejected_N: jax.Array, shares_N: jax.Array) -> tuple[jax.Array, jax.Array]:
    """−Σ (p log σ(d) + (1 − p) log σ(−d)) with d = s_chosen − s_rejected, and N.

    Bradley and Terry's model (arXiv 2203.02155, equation 1) is p = 1; Constitutional AI has soft p (arXiv 2212.08073,
    section 4.1).

    Args:
        chosen_N: s_chosen, float32.
        rejected_N: s_rejected.
        shares_N: p, 0 to 1, how probably the chosen one is the better one.
    """
    margins_N = chosen_N - rejected_N
    losses_N = shares_N * jax.nn.softplus(-margins_N) + (1 - shares_N) * jax.nn.softplus(margins_N)
    return jnp.sum(losses_N), jnp.float32(len(chosen_N))


def preference_tangents(chosen_N: jax.Array, rejected_N: jax.Array, shares_N: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Value and slopes of each pair's loss, float32 [N, 2]: by the chosen one's score, then by the rejected one's.

    The value stands in equal halves with both. A pair's loss needs both scores, and its two sides may lie in different
    pieces of a batch: with these, what remains of it is a sum over completions, `tangent_loss`.
    """

    def of_pair(pair: jax.Array, share: jax.Array) -> jax.Array:
        return preference_loss(pair[:1], pair[1:], share[None])[0]

    values, slopes = jax.vmap(jax.value_and_grad(of_pair))(jnp.stack([chosen_N, rejected_N], axis=1), shares_N)
    return jnp.stack([values, values], axis=1) / 2, slopes


def tangent_loss(scores: jax.Array, at: jax.Array, values: jax.Array, slopes: jax.Array) -> jax.Array:
    """Σ value + slope · (s − at): at the scores `at` the loss that these are tangents of, in value and in gradient."""
    return jnp.sum(values + slopes * (scores - at))
