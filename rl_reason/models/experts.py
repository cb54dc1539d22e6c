"""Mixture of experts: each token goes to a few of many MLPs, and none is dropped."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from rl_reason.models.config import Experts
from rl_reason.models.weights import Params
from rl_reason.parallel.mesh import OnMesh, mesh_axes

Activation = Callable[[jax.Array], jax.Array]


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


@jax.named_scope("experts")
def mix(
    layer: Params, x_BTD: jax.Array, experts: Experts, activation: Activation, constrain: Callable
) -> tuple[jax.Array, jax.Array]:
    """Σ over a token's experts of weight · MLP(x), [B, T, D], and which experts these are, int32 [B, T, per_token].

    On a mesh each device holds its share of the experts and of their width. The tokens of the devices that share these
    out are gathered on each of them, and what they make of them is summed and scattered back: no capacity, nothing
    dropped, and no more traffic where a token visits more experts.
    """
    logits_NX = x_BTD.reshape(-1, x_BTD.shape[-1]).astype(jnp.float32) @ layer["router"].astype(jnp.float32)
    routed = route(logits_NX, layer.get("router_bias"), experts)
    weights_BTk, chosen_BTk = (x.reshape(*x_BTD.shape[:2], -1) for x in routed)
    parts = [layer[name] for name in ("expert_gate", "expert_up", "expert_down")]
    tokens = (x_BTD, weights_BTk.astype(x_BTD.dtype), chosen_BTk)
    if not isinstance(constrain, OnMesh):
        return _mix(*tokens, *parts, activation=activation), chosen_BTk

    rows = constrain.spec(("batch", "time", "width"), x_BTD.shape)
    up = constrain.spec(("experts", "width", "mlp"), parts[0].shape)
    down = constrain.spec(("experts", "mlp", "width"), parts[2].shape)
    experts_over, split_over = mesh_axes(up[0]), mesh_axes(up[0]) + mesh_axes(up[2])
    gathered = tuple(axis for axis in mesh_axes(rows[0]) if axis in split_over)
    summed = tuple(axis for axis in split_over if axis not in gathered)

    def part(x_BTD: jax.Array, weights_BTk: jax.Array, chosen_BTk: jax.Array, *parts: jax.Array) -> jax.Array:
        tokens = (x_BTD, weights_BTk, chosen_BTk)
        if gathered:
            tokens = tuple(jax.lax.all_gather(x, gathered, axis=0, tiled=True) for x in tokens)
        first = jax.lax.axis_index(experts_over) * parts[0].shape[0] if experts_over else 0
        out = _mix(*tokens, *parts, activation=activation, first=first)
        out = jax.lax.psum(out, summed) if summed else out
        return jax.lax.psum_scatter(out, gathered, scatter_dimension=0, tiled=True) if gathered else out

    specs = (rows, rows, rows, up, up, down)
    return jax.shard_map(part, mesh=constrain.mesh, in_specs=specs, out_specs=rows)(*tokens, *parts), chosen_BTk


def _mix(
    x_BTD: jax.Array,
    weights_BTk: jax.Array,
    chosen_BTk: jax.Array,
    gate: jax.Array,
    up: jax.Array,
    down: jax.Array,
    *,
    activation: Activation,
    first: jax.Array | int = 0,
) -> jax.Array:
    """The part of the sum that the experts from number `first` on make, as many as there are weights of.

    Tokens are sorted by expert, so that each expert's are one run of rows of a ragged product.
    """
    D, k, here = x_BTD.shape[-1], chosen_BTk.shape[-1], gate.shape[0]
    expert_M = (chosen_BTk - first).reshape(-1)
    # Rows of experts that are elsewhere go behind all others, where they belong to no group.
    expert_M = jnp.where((expert_M >= 0) & (expert_M < here), expert_M, here)
    order_M = jnp.argsort(expert_M, stable=True)
    sizes = jnp.bincount(expert_M, length=here + 1)[:here].astype(jnp.int32)
    rows_MD = x_BTD.reshape(-1, D)[order_M // k]
    gated = activation(jax.lax.ragged_dot(rows_MD, gate, sizes)) * jax.lax.ragged_dot(rows_MD, up, sizes)
    out_MD = jax.lax.ragged_dot(gated, down, sizes)
    is_here = jnp.arange(len(order_M)) < jnp.sum(sizes)
    out_MD = jnp.where(is_here[:, None], out_MD, 0.0)
    # Back to the tokens' order by a gather: a scatter would add in an order that is not fixed.
    by_token = out_MD[jnp.argsort(order_M)].reshape(-1, k, D)
    return jnp.einsum("nk,nkd->nd", weights_BTk.reshape(-1, k), by_token).reshape(x_BTD.shape)


def loads(chosen_BTk: jax.Array, is_token_BT: jax.Array, count: int) -> jax.Array:
    """How often each expert of a layer was chosen by tokens that are no padding, float32 [count]."""
    is_chosen = chosen_BTk[..., None] == jnp.arange(count)[None, None, None]
    return jnp.sum(is_chosen & is_token_BT[..., None, None], axis=(0, 1, 2), dtype=jnp.float32)


def balance(loads_LX: jax.Array) -> dict[str, jax.Array]:
    """How evenly the tokens of a step went to the experts of each layer; all are 0 where they did so exactly.

    Args:
        loads_LX: of each layer's experts, as `loads` counts them.

    Returns:
        "experts/violation/mean" and "/max" over layers: load of the busiest expert ÷ mean load − 1 (MaxVio of arXiv
        2408.15664, section 4.1). "experts/idle": share of the experts that no token chose. No numbers where there were
        no tokens.
    """
    violations_L = jnp.max(loads_LX, axis=1) / jnp.mean(loads_LX, axis=1) - 1
    return {
        "experts/violation/mean": jnp.mean(violations_L),
        "experts/violation/max": jnp.max(violations_L),
        "experts/idle": jnp.where(jnp.any(loads_LX > 0), jnp.mean(loads_LX == 0), jnp.nan),
    }
