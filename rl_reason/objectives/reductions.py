"""How the losses of tokens become one number: a weight for each token, and what the weighted sum is divided by."""

from __future__ import annotations

import jax
import jax.numpy as jnp

REDUCTIONS = ("sequence_mean", "sequence_sum", "token_mean", "length_normalized")


def token_weights(mask_BT: jax.Array, kind: str, max_length: int) -> tuple[jax.Array, jax.Array]:
    """Weights [B, T] and a denominator []: loss = Σ weights · token losses / denominator.

    Both are computed on the whole batch, before it is cut into micro-batches.

    Args:
        mask_BT: float32, 1 on the tokens of a completion.
        kind: "sequence_mean": 1/|o_i| for each token, over the number of completions (DeepSeekMath, equation 3);
            "sequence_sum": 1 for each token, over the number of completions (RLOO, arXiv 2402.14740: a completion is
            one action); "token_mean": over all tokens of the batch (DAPO, arXiv 2503.14476, equation 8);
            "length_normalized": over completions · max_length (Dr. GRPO, arXiv 2503.20783).
        max_length: the limit of a completion's length.
    """
    completions = jnp.sum(jnp.any(mask_BT > 0, axis=1).astype(jnp.float32))
    if kind == "sequence_mean":
        return mask_BT / jnp.maximum(jnp.sum(mask_BT, axis=1, keepdims=True), 1), completions
    if kind == "sequence_sum":
        return mask_BT, completions
    if kind == "token_mean":
        return mask_BT, jnp.sum(mask_BT)
    return mask_BT, completions * max_length
