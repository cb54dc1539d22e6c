"""Advantages from the rewards of a group."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def group_relative(rewards_QG: jax.Array, normalize: bool = True, ddof: int = 0, eps: float = 1e-6) -> jax.Array:
    """Â_i = (r_i − mean r) / (std r + eps) within each group (DeepSeekMath, arXiv 2402.03300, section 4.1.2).

    Args:
        rewards_QG: float32, the rewards of the G completions of each question.
        normalize: False: r_i − mean r only (Dr. GRPO, arXiv 2503.20783).
        ddof: the standard deviation divides by G − ddof. The paper does not say which; most libraries take 1.
        eps: added to the standard deviation.

    Returns:
        float32 [Q, G]. A group of equal rewards has advantages 0.
    """
    # Seen from the first reward, equal rewards are exactly 0; the mean of seven times 0.1 is not exactly 0.1.
    shifted = rewards_QG - rewards_QG[:, :1]
    centered = shifted - jnp.mean(shifted, axis=1, keepdims=True)
    if not normalize:
        return centered
    variance = jnp.sum(centered**2, axis=1, keepdims=True) / (rewards_QG.shape[1] - ddof)
    return jnp.where(variance > 0, centered / (jnp.sqrt(variance) + eps), 0.0)


def leave_one_out(rewards_QG: jax.Array) -> jax.Array:
    """r_i − the mean of the other rewards of the group (RLOO, arXiv 2402.14740)."""
    G = rewards_QG.shape[1]
    return group_relative(rewards_QG, normalize=False) * (G / (G - 1))


def whiten(advantages_BT: jax.Array, mask_BT: jax.Array, eps: float = 1e-6) -> jax.Array:
    """(A − mean A) / (std A + eps) over all tokens of the batch (REINFORCE++, arXiv 2501.03262); 0 outside
    the mask, and all 0 where they are equal.

    Args:
        advantages_BT: float32.
        mask_BT: 1 on the tokens of completions.
        eps: added to the standard deviation.
    """
    count = jnp.maximum(jnp.sum(mask_BT), 1)
    centered = (advantages_BT - jnp.sum(advantages_BT * mask_BT) / count) * mask_BT
    deviation = jnp.sqrt(jnp.sum(centered**2) / count)
    # Equal values are not exactly their mean.
    scale = jnp.max(jnp.abs(advantages_BT * mask_BT))
    return jnp.where(deviation > 1e-6 * scale, centered / (deviation + eps), 0.0)
