"""Mixture of experts: each token goes to a few of many MLPs, and none is dropped."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from rl_reason.models.config import Experts
from rl_reason.models.weights import Params
from rl_reason.parallel.mesh import OnMesh

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


def mix(layer: Params, x_BTD: jax.Array, experts: Experts, activation: Activation, constrain: Callable) -> jax.Array:
    """Σ over a token's experts of weight · MLP(x). [B, T, D].

    On a mesh each device holds its share of the experts (axis `expert`) and of their width (`tensor`). The tokens of
    the devices that share the experts out are gathered on each of them, and what they make of them is summed and
    scattered back: no capacity, nothing dropped, and no more traffic where a token visits more experts.
    """
    names = ("router", "expert_gate", "expert_up", "expert_down")
    weights = [layer[name] for name in names]
    bias = layer.get("router_bias", jnp.zeros(experts.count))
    if not isinstance(constrain, OnMesh):
        return _mix(x_BTD, bias, *weights, experts=experts, activation=activation)

    rows = constrain.spec(("batch", "time", "width"), x_BTD.shape)
    up = constrain.spec(("experts", "width", "mlp"), weights[1].shape)
    down = constrain.spec(("experts", "mlp", "width"), weights[3].shape)
    shared_out, width = up[0], up[2]
    is_split = shared_out is not None and shared_out in (rows[0] or ())

    def part(x_BTD: jax.Array, *weights: jax.Array) -> jax.Array:
        if is_split:
            x_BTD = jax.lax.all_gather(x_BTD, shared_out, axis=0, tiled=True)
        first = 0 if shared_out is None else jax.lax.axis_index(shared_out) * weights[2].shape[0]
        out = _mix(x_BTD, *weights, experts=experts, activation=activation, first=first)
        if width is not None:
            out = jax.lax.psum(out, width)
        if is_split:
            return jax.lax.psum_scatter(out, shared_out, scatter_dimension=0, tiled=True)
        return out if shared_out is None else jax.lax.psum(out, shared_out)

    whole = PartitionSpec()
    placed = jax.shard_map(part, mesh=constrain.mesh, in_specs=(rows, whole, whole, up, up, down), out_specs=rows)
    return placed(x_BTD, bias, *weights)


def _mix(
    x_BTD: jax.Array,
    bias_X: jax.Array,
    router_DX: jax.Array,
    gate: jax.Array,
    up: jax.Array,
    down: jax.Array,
    *,
    experts: Experts,
    activation: Activation,
    first: jax.Array | int = 0,
) -> jax.Array:
    """The part of the sum that the experts from number `first` on make, as many as there are weights of.

    Tokens are sorted by expert, so that each expert's are one run of rows of a ragged product.
    """
    D, k, here = x_BTD.shape[-1], experts.per_token, gate.shape[0]
    x_ND = x_BTD.reshape(-1, D)
    logits = x_ND.astype(jnp.float32) @ router_DX.astype(jnp.float32)
    weights_Nk, chosen_Nk = route(logits, bias_X if experts.score == "sigmoid" else None, experts)
    expert_M = (chosen_Nk - first).reshape(-1)
    # Rows of experts that are elsewhere go behind all others, where they belong to no group.
    expert_M = jnp.where((expert_M >= 0) & (expert_M < here), expert_M, here)
    order_M = jnp.argsort(expert_M, stable=True)
    sizes = jnp.bincount(expert_M, length=here + 1)[:here].astype(jnp.int32)
    rows_MD = x_ND[order_M // k]
    gated = activation(jax.lax.ragged_dot(rows_MD, gate, sizes)) * jax.lax.ragged_dot(rows_MD, up, sizes)
    out_MD = jax.lax.ragged_dot(gated, down, sizes)
    is_here = jnp.arange(len(order_M)) < jnp.sum(sizes)
    out_MD = jnp.where(is_here[:, None], out_MD, 0.0)
    # Back to the tokens' order by a gather: a scatter would add in an order that is not fixed.
    by_token = out_MD[jnp.argsort(order_M)].reshape(-1, k, D)
    return jnp.einsum("nk,nkd->nd", weights_Nk.astype(out_MD.dtype), by_token).reshape(x_BTD.shape)
