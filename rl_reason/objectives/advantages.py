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


def process_relative(rewards_QGT: jax.Array, ends_QGT: jax.Array, ddof: int = 0, eps: float = 1e-6) -> jax.Array:
    """Advantages of tokens from rewards of steps (DeepSeekMath, arXiv 2402.03300, section 4.1.3).

    r̃ = (r − mean R) / (std R + eps), R being the rewards of all steps of a group's completions, and
    Â_t = Σ r̃_j over the steps j that end at t or later: a sum, so that longer solutions have larger ones.

    Args:
        rewards_QGT: float32, the reward of each step at the token that ends it.
        ends_QGT: 1 there, else 0.
        ddof: as in `group_relative`.
        eps: likewise.

    Returns:
        float32 [Q, G, T]. A group of equal rewards has advantages 0, as does what stands behind the last step.
    """
    Q, G, T = rewards_QGT.shape
    rewards_QN, ends_QN = rewards_QGT.reshape(Q, -1), ends_QGT.reshape(Q, -1)
    count = jnp.sum(ends_QN, axis=1, keepdims=True)
    # Seen from one of them, equal rewards are exactly 0.
    first = jnp.take_along_axis(rewards_QN, jnp.argmax(ends_QN, axis=1, keepdims=True), axis=1)
    shifted = (rewards_QN - first) * ends_QN
    centered = (shifted - jnp.sum(shifted, axis=1, keepdims=True) / jnp.maximum(count, 1)) * ends_QN
    variance = jnp.sum(centered**2, axis=1, keepdims=True) / jnp.maximum(count - ddof, 1)
    normed = jnp.where(variance > 0, centered / (jnp.sqrt(variance) + eps), 0.0).reshape(Q, G, T)
    return jnp.cumsum(normed[..., ::-1], axis=-1)[..., ::-1]


def leave_one_out(rewards_QG: jax.Array, normalize: bool = False, eps: float = 1e-6) -> jax.Array:
    """r_i − the mean of the other rewards of the group (RLOO, arXiv 2402.14740).

    With `normalize` it is divided by the standard deviation of the others, with one degree of freedom, + eps; where
    these are equal it stays as it is. Needs groups of three then.
    """
    G = rewards_QG.shape[1]
    made = group_relative(rewards_QG, normalize=False) * (G / (G - 1))
    if not normalize:
        return made
    others_QGG = jnp.broadcast_to(rewards_QG[:, None], (*rewards_QG.shape, G))
    is_other_GG = 1 - jnp.eye(G)
    # Seen from one of them, so that equal ones are exactly so.
    shifted = (others_QGG - jnp.roll(rewards_QG, -1, axis=1)[..., None]) * is_other_GG[None]
    mean = jnp.sum(shifted, axis=2, keepdims=True) / (G - 1)
    variance_QG = jnp.sum(jnp.square((shifted - mean) * is_other_GG[None]), axis=2) / (G - 2)
    return jnp.where(variance_QG > 0, made / (jnp.sqrt(variance_QG) + eps), made)


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
