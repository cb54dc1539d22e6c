"""Estimators of KL(policy ‖ reference) from the log-probabilities of sampled tokens."""

from __future__ import annotations

import jax
import jax.numpy as jnp

LARGEST_LOG_RATIO = 20.0


def k3(logprobs: jax.Array, reference_logprobs: jax.Array) -> jax.Array:
    """π_ref/π − log(π_ref/π) − 1 for each token: never negative, unbiased (DeepSeekMath, equation 4).

    The log ratio is limited to ±20: beyond, the exponential overflows, and one token would decide the gradient.
    """
    log_ratio = jnp.clip(reference_logprobs - logprobs, -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)
    return jnp.expm1(log_ratio) - log_ratio
