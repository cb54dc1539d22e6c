"""Generalized advantage estimation (arXiv 1506.02438), over rows of different lengths."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def estimate_advantages(
    rewards_BT: jax.Array, values_BT: jax.Array, after_B: jax.Array, mask_BT: jax.Array, gamma: float, decay: float
) -> tuple[jax.Array, jax.Array]:
    """A_t = Σ_l (γλ)^l δ_{t+l} with δ_t = r_t + γ V_{t+1} − V_t (equation 16), and the returns A_t + V_t.

    Args:
        rewards_BT: float32, of each token.
        values_BT: V_t, what is expected before token t.
        after_B: what is expected behind the last token: 0 where a completion has ended.
        mask_BT: 1 on the tokens of completions, which begin in the first column, else 0.
        gamma: γ.
        decay: λ.

    Returns:
        Two float32 [B, T], 0 behind the completions.
    """
    ahead_BT = jnp.pad(mask_BT[:, 1:], ((0, 0), (0, 1)))  # 1 where another token follows
    values_BT = values_BT * mask_BT
    next_BT = jnp.pad(values_BT[:, 1:], ((0, 0), (0, 1))) * ahead_BT + after_B[:, None] * (mask_BT - ahead_BT)
    errors_BT = (rewards_BT + gamma * next_BT - values_BT) * mask_BT

    # A_t = δ_t + γλ A_{t+1}: a composition of x → δ + γλ x, which is associative, from the right.
    def compose(later: tuple, earlier: tuple) -> tuple:
        return later[0] * earlier[0], earlier[1] + earlier[0] * later[1]

    factors_BT = gamma * decay * ahead_BT
    _, advantages_BT = jax.lax.associative_scan(compose, (factors_BT, errors_BT), reverse=True, axis=1)
    return advantages_BT, advantages_BT + values_BT
