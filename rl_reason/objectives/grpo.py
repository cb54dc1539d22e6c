"""The loss of GRPO: DeepSeekMath (arXiv 2402.03300), equation 3."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rl_reason.objectives.kl import k3
from rl_reason.objectives.surrogates import clipped, is_clipped, log_ratio


def grpo_loss(
    logprobs_BT: jax.Array,
    old_logprobs_BT: jax.Array,
    reference_logprobs_BT: jax.Array | None,
    advantages_BT: jax.Array,
    mask_BT: jax.Array,
    segments_BT: jax.Array,
    weights_BT: jax.Array,
    *,
    clip_low: float,
    clip_high: float,
    kl_coef: float,
    ratio_level: str = "token",
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Σ weights · −{min(r Â, clip(r, 1 − ε_low, 1 + ε_high) Â) − β k3}, to be divided by the weights' denominator.

    Args:
        logprobs_BT: log π of the sampled tokens; the gradient flows through these only.
        old_logprobs_BT: log π_old.
        reference_logprobs_BT: log π_ref; None where β is 0.
        advantages_BT: Â of each token.
        mask_BT: float32, 1 on the tokens of completions, their end-of-sequence tokens counted.
        segments_BT: int32, equal for the tokens of one completion: a row may hold several.
        weights_BT: from `reductions.token_weights`, 0 outside the mask.
        clip_low: ε_low.
        clip_high: ε_high.
        kl_coef: β.
        ratio_level: see `surrogates.log_ratio`.

    Returns:
        The sum, and sums over tokens of what is worth watching.
    """
    ratio_BT = jnp.exp(log_ratio(logprobs_BT, old_logprobs_BT, mask_BT, segments_BT, ratio_level))
    objective_BT = clipped(ratio_BT, advantages_BT, clip_low, clip_high)
    sums = {
        "ratio/clipped": jnp.sum(is_clipped(ratio_BT, advantages_BT, clip_low, clip_high) * mask_BT),
        "ratio/mean": jnp.sum(ratio_BT * mask_BT),
    }
    if reference_logprobs_BT is not None:
        kl_BT = k3(logprobs_BT, reference_logprobs_BT)
        objective_BT = objective_BT - kl_coef * kl_BT
        sums["kl/reference"] = jnp.sum(kl_BT * mask_BT)
    return -jnp.sum(weights_BT * objective_BT), sums
