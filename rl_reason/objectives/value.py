"""What a critic learns: the returns, not too far from what it said when they were collected."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def value_loss(
    values: jax.Array, old_values: jax.Array, returns: jax.Array, clip: float
) -> tuple[jax.Array, jax.Array]:
    """½ max((V − R)², (V_clipped − R)²), V_clipped within `clip` of V_old, as implementations of PPO have it
    (arXiv 2005.12729, section 3); without the second part where `clip` is 0.

    Returns:
        The loss of each token, and whether it is the clipped part, which has no gradient.
    """
    plain = jnp.square(values - returns)
    if not clip:
        return plain / 2, jnp.zeros(values.shape, bool)
    near = jnp.square(jnp.clip(values, old_values - clip, old_values + clip) - returns)
    return jnp.maximum(plain, near) / 2, near > plain


def explained_variance(values_BT: jax.Array, returns_BT: jax.Array, mask_BT: jax.Array) -> jax.Array:
    """1 − Var(R − V) / Var(R) over all tokens: 1 for a perfect critic, 0 for one that says the mean; NaN where all
    returns are equal."""
    left, whole = _variance(returns_BT - values_BT, mask_BT), _variance(returns_BT, mask_BT)
    return jnp.where(whole > 0, 1 - left / jnp.where(whole > 0, whole, 1), jnp.nan)


def _variance(x_BT: jax.Array, mask_BT: jax.Array) -> jax.Array:
    count = jnp.maximum(jnp.sum(mask_BT), 1)
    centered = (x_BT - jnp.sum(x_BT * mask_BT) / count) * mask_BT
    return jnp.sum(jnp.square(centered)) / count
