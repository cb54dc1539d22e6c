"""Direct preference optimization: of two completions of a prompt the chosen one is to gain on the rejected one."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rl_reason.objectives.reductions import token_weights


def preference_losses(margins_B: jax.Array, beta: float) -> jax.Array:
    """−log σ(β (m⁺ − m⁻)) of each of P pairs, float32 [P] (arXiv 2305.18290, equation 7).

    Args:
        margins_B: [2 P], log π/π_ref of whole completions: of a pair the chosen one's, then the rejected one's.
        beta: β.
    """
    return -jax.nn.log_sigmoid(beta * (margins_B[0::2] - margins_B[1::2]))


def completion_margins(
    logprobs_BT: jax.Array, reference_BT: jax.Array, mask_BT: jax.Array, reduction: str
) -> tuple[jax.Array, jax.Array]:
    """m [B]: the log-ratios of each completion's tokens, summed ("sequence_sum", equation 7) or averaged
    ("sequence_mean", DPO in DeepSeekMath, arXiv 2402.03300, A.1.4); and dm/d log π of each token, [B, T]."""
    weights_BT, _ = token_weights(mask_BT, reduction, mask_BT.shape[1])
    return jnp.sum(weights_BT * (logprobs_BT - reference_BT), axis=1), weights_BT
