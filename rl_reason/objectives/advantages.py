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
