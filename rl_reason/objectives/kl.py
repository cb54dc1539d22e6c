"""Estimators of KL(policy ‖ reference) from the log-probabilities of sampled tokens.

What they estimate in value is the same, their gradients are not: as a loss on samples of the policy itself, the
gradient of k1 has mean zero, that of k2 is the KL's own, and that of k3 is that of the forward KL.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

LARGEST_LOG_RATIO = 20.0


def k1(logprobs: jax.Array, reference_logprobs: jax.Array) -> jax.Array:
    """log π/π_ref: unbiased, and negative where the reference is more sure."""
    return logprobs - reference_logprobs


def k2(logprobs: jax.Array, reference_logprobs: jax.Array) -> jax.Array:
    """½ (log π/π_ref)²: never negative, biased a little."""
    return jnp.square(logprobs - reference_logprobs) / 2


def k3(logprobs: jax.Array, reference_logprobs: jax.Array) -> jax.Array:
    """π_ref/π − log(π_ref/π) − 1: never negative, unbiased (DeepSeekMath, arXiv 2402.03300, equation 4).

    The log ratio is limited to ±20: beyond, the exponential overflows, and one token would decide the gradient.
    """
    log_ratio = jnp.clip(reference_logprobs - logprobs, -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)
    return jnp.expm1(log_ratio) - log_ratio


KL_ESTIMATORS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {"k1": k1, "k2": k2, "k3": k3}
K3_WEIGHTED = "k3_weighted"
"""k3 times π/π_old, which makes it unbiased also where the policy has left the one that sampled (DeepSeek-V3.2, arXiv
2512.02556)."""
KL_NAMES = (*KL_ESTIMATORS, K3_WEIGHTED)


def estimate(
    name: str, logprobs: jax.Array, reference_logprobs: jax.Array, ratio: jax.Array, limit: float = 0.0
) -> jax.Array:
    """The estimator of a name in `KL_NAMES`, of each token.

    Args:
        name: of the estimator.
        logprobs: log π.
        reference_logprobs: log π_ref.
        ratio: π/π_old, which the weighted one reads.
        limit: of the estimate before it is weighted, either way; beyond, a token has no gradient. 0: none.
    """
    of_token = k3 if name == K3_WEIGHTED else KL_ESTIMATORS[name]
    made = of_token(logprobs, reference_logprobs)
    made = jnp.clip(made, -limit, limit) if limit else made
    return ratio * made if name == K3_WEIGHTED else made
