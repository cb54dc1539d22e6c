"""The clipped surrogate of policy-gradient methods, and the ratio it is made of."""

from __future__ import annotations

import jax
import jax.numpy as jnp

LARGEST_LOG_RATIO = 20.0
"""Beyond, exp overflows for the product over a long completion, and the gradient of the clipped branch is 0 · ∞."""

RATIO_LEVELS = ("token", "sequence", "sequence_mean")


def log_ratio(
    logprobs_BT: jax.Array, old_logprobs_BT: jax.Array, mask_BT: jax.Array, segments_BT: jax.Array, level: str
) -> jax.Array:
    """log π/π_old, float32 [B, T], the same for all tokens of a completion where the level is the sequence.

    Args:
        logprobs_BT: of the policy.
        old_logprobs_BT: of the policy that sampled, or rather of the trainer's copy of it.
        mask_BT: 1 on the tokens of completions.
        segments_BT: int32, equal for the tokens of one completion: a row may hold several.
        level: "token" (DeepSeekMath, equation 3); "sequence": the product of the tokens' ratios (the printed GRPO of
            DeepSeek-R1, arXiv 2501.12948, equation 1); "sequence_mean": its geometric mean (GSPO, arXiv 2507.18071).
    """
    per_token = (logprobs_BT - old_logprobs_BT) * mask_BT
    if level == "token":
        return jnp.clip(per_token, -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)
    same_BTS = (segments_BT[:, :, None] == segments_BT[:, None, :]).astype(per_token.dtype)
    total = jnp.einsum("bts,bs->bt", same_BTS, per_token)
    if level == "sequence_mean":
        total = total / jnp.maximum(jnp.einsum("bts,bs->bt", same_BTS, mask_BT), 1)
    return jnp.clip(total, -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)


def clipped(ratio: jax.Array, advantages: jax.Array, clip_low: float, clip_high: float) -> jax.Array:
    """min(r A, clip(r, 1 − ε_low, 1 + ε_high) A), to be maximized (PPO, arXiv 1707.06347, equation 7)."""
    return jnp.minimum(ratio * advantages, jnp.clip(ratio, 1 - clip_low, 1 + clip_high) * advantages)


def is_clipped(ratio: jax.Array, advantages: jax.Array, clip_low: float, clip_high: float) -> jax.Array:
    """True where the clipped branch is the smaller one, so that the token has no gradient."""
    return ((advantages > 0) & (ratio > 1 + clip_high)) | ((advantages < 0) & (ratio < 1 - clip_low))
