"""Mixture of experts: each token goes to a few of many MLPs, and none is dropped."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rl_reason.models.config import Experts
from rl_reason.models.weights import Params


def route(logits_NX: jax.Array, bias_X: jax.Array | None, experts: Experts) -> tuple[jax.Array, jax.Array]:
    """The experts of N tokens and their weights: float32 and int32 [N, per_token].

    Softmax: Mixtral (arXiv 2401.04088, section 2.1), DeepSeek-V2 (arXiv 2405.04434, equations 20–22). Sigmoid with a
    bias for the choice: DeepSeek-V3 (arXiv 2412.19437, equations 12–16). With groups, only the best `kept_groups` take
    part: by their best expert in V2, by the sum of their two best in V3.

    Args:
        logits_NX: float32, a score for each of X experts.
        bias_X: added to the sigmoid where experts are chosen, not where they are weighted.
        experts: the settings.
    """
    sigmoid = experts.score == "sigmoid"
    scores_NX = jax.nn.sigmoid(logits_NX) if sigmoid else jax.nn.softmax(logits_NX, axis=-1)
    choice_NX = scores_NX if bias_X is None else scores_NX + bias_X[None]
    if experts.groups > 1:
        grouped = choice_NX.reshape(len(choice_NX), experts.groups, -1)
        best = jnp.sum(jax.lax.top_k(grouped, 2)[0], axis=-1) if sigmoid else jnp.max(grouped, axis=-1)
        _, kept = jax.lax.top_k(best, experts.kept_groups)
        is_kept = jnp.any(kept[:, :, None] == jnp.arange(experts.groups)[None, None], axis=1)
        choice_NX = jnp.where(is_kept[:, :, None], grouped, -jnp.inf).reshape(choice_NX.shape)
    _, chosen = jax.lax.top_k(choice_NX, experts.per_token)
    weights = jnp.take_along_axis(scores_NX, chosen, axis=-1)
    if experts.normalize:
        weights = weights / (jnp.sum(weights, axis=-1, keepdims=True) + (1e-20 if sigmoid else 0.0))
    return weights * experts.scale, chosen


def mix(layer: Params, x_BTD: jax.Array, experts: Experts, activation) -> jax.Array:
    """Σ over a token's experts of weight · MLP(x). [B, T, D].

    Tokens are sorted by expert, so that each expert's are one run of rows of a ragged product: no capacity, nothing
    dropped, nothing padded.
    """
    D, k = x_BTD.shape[-1], experts.per_token
    x_ND = x_BTD.reshape(-1, D)
    logits = x_ND.astype(jnp.float32) @ layer["router"].astype(jnp.float32)
    weights, chosen = route(logits, layer.get("router_bias"), experts)
    order = jnp.argsort(chosen.reshape(-1), stable=True)
    sizes = jnp.bincount(chosen.reshape(-1), length=experts.count).astype(jnp.int32)
    rows = x_ND[order // k]
    gated = activation(jax.lax.ragged_dot(rows, layer["expert_gate"], sizes))
    gated = gated * jax.lax.ragged_dot(rows, layer["expert_up"], sizes)
    out = jax.lax.ragged_dot(gated, layer["expert_down"], sizes)
    # Back to the tokens' order by a gather: a scatter would add in an order that is not fixed.
    by_token = out[jnp.argsort(order)].reshape(-1, k, D)
    return jnp.einsum("nk,nkd->nd", weights.astype(out.dtype), by_token).reshape(x_BTD.shape)
