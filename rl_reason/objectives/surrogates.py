"""What policy-gradient methods maximize in place of the reward: functions of the ratio π/π_old and the advantage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

LARGEST_LOG_RATIO = 20.0
"""Beyond, exp overflows for the product over a long completion, and the gradient of the clipped branch is 0 · ∞."""

RATIO_LEVELS = ("token", "sequence", "sequence_mean", "sequence_token")
CORRECTIONS = ("none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask")


def over_completion(x_BT: jax.Array, segments_BT: jax.Array) -> jax.Array:
    """For each token the sum over its completion, [B, T]. Columns of segment 0 belong to none."""
    count = x_BT.shape[1] + 1
    of_row = lambda x, segments: jax.ops.segment_sum(x, segments, num_segments=count)[segments]  # noqa: E731
    return jax.vmap(of_row)(x_BT, segments_BT)


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
            DeepSeek-R1, arXiv 2501.12948, equation 1); "sequence_mean": its geometric mean (GSPO, arXiv 2507.18071,
            equation 7); "sequence_token": the same in value, each token with its own gradient (GSPO-token, equation
            14), which differs where the advantages of a completion's tokens do.
    """
    per_token = (logprobs_BT - old_logprobs_BT) * mask_BT
    if level == "token":
        return jnp.clip(per_token, -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)
    total = over_completion(per_token, segments_BT)
    if level != "sequence":
        total = total / jnp.maximum(over_completion(mask_BT, segments_BT), 1)
    total = jnp.clip(total, -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)
    if level == "sequence_token":
        return jax.lax.stop_gradient(total) + per_token - jax.lax.stop_gradient(per_token)
    return total


def correct(log_ratio_BT: jax.Array, segments_BT: jax.Array, kind: str, limit: float) -> tuple[jax.Array, jax.Array]:
    """Importance weights π_old/π_sampler, without a gradient: what the trainer computes over what the sampler did, or
    the policy that a step begins with over an older one that sampled (arXiv 2505.24298, the decoupled
    objective, where π_old is called proximal). And where the limit was met.

    Args:
        log_ratio_BT: their logarithms by tokens, 0 outside of completions.
        segments_BT: as in `log_ratio`.
        kind: of a "token" or the product over a "sequence"; where one is above the limit, "truncate" takes the limit
            (truncated importance sampling), "mask" takes 0: the tokens are left out. The names are TRL's.
        limit: of the weight.
    """
    level, _, beyond = kind.partition("_")
    if level == "sequence":
        log_ratio_BT = over_completion(log_ratio_BT, segments_BT)
    weight_BT = jnp.exp(jnp.clip(log_ratio_BT, -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO))
    is_beyond_BT = weight_BT > limit
    other = limit if beyond == "truncate" else 0.0
    return jax.lax.stop_gradient(jnp.where(is_beyond_BT, other, weight_BT)), is_beyond_BT


def clipped(
    ratio: jax.Array, advantages: jax.Array, clip_low: float, clip_high: float, dual_clip: float = 0.0
) -> jax.Array:
    """min(r A, clip(r, 1 − ε_low, 1 + ε_high) A), to be maximized (PPO, arXiv 1707.06347, equation 7).

    With `dual_clip` c at least c A where A < 0 (arXiv 1912.09729), so that a ratio far above 1 does not decide the
    gradient; 0: without.
    """
    objective = jnp.minimum(ratio * advantages, jnp.clip(ratio, 1 - clip_low, 1 + clip_high) * advantages)
    return (
        jnp.where(advantages < 0, jnp.maximum(objective, dual_clip * advantages), objective) if dual_clip else objective
    )


def is_clipped(
    ratio: jax.Array, advantages: jax.Array, clip_low: float, clip_high: float, dual_clip: float = 0.0
) -> jax.Array:
    """True where a token has no gradient: the clipped branch counts."""
    is_cut = ((advantages > 0) & (ratio > 1 + clip_high)) | ((advantages < 0) & (ratio < 1 - clip_low))
    return is_cut | ((advantages < 0) & (ratio > dual_clip)) if dual_clip else is_cut


Made = tuple[jax.Array, jax.Array]
"""The objective of each token, to be maximized, and where its ratio was limited."""


def _clip(ratio: jax.Array, logprobs: jax.Array, advantages: jax.Array, spec: Any) -> Made:
    limits = (spec.clip_low, spec.clip_high, spec.dual_clip)
    return clipped(ratio, advantages, *limits), is_clipped(ratio, advantages, *limits)


def _cispo(ratio: jax.Array, logprobs: jax.Array, advantages: jax.Array, spec: Any) -> Made:
    """The clipped ratio weighs log π and has no gradient, so that every token has one (MiniMax-M1, arXiv 2506.13585,
    equations 4 and 5)."""
    low, high = 1 - spec.clip_low, 1 + spec.clip_high
    weight = jax.lax.stop_gradient(jnp.clip(ratio, low, high))
    return weight * advantages * logprobs, (ratio < low) | (ratio > high)


def _sapo(ratio: jax.Array, logprobs: jax.Array, advantages: jax.Array, spec: Any) -> Made:
    """4/τ · σ(τ (r − 1)) A: a gate that closes smoothly in place of clipping (arXiv 2511.20347)."""
    temperature = jnp.where(advantages > 0, spec.sapo_positive, spec.sapo_negative)
    gate = jax.nn.sigmoid(temperature * (ratio - 1)) * 4 / temperature
    return gate * advantages, jnp.zeros_like(ratio, bool)


SURROGATES: dict[str, Callable[[jax.Array, jax.Array, jax.Array, Any], Made]] = {
    "clip": _clip,
    "cispo": _cispo,
    "sapo": _sapo,
}
"""By name: of the ratio, log π, the advantages and the settings (`policy_loss.PolicyLoss`)."""
