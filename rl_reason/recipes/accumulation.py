"""Gradients of Σ loss / denominator over a batch that is too large to differentiate at once."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from rl_reason.models.weights import Params

LossSum = Callable[[Params, dict], tuple[jax.Array, dict[str, jax.Array]]]
"""(params, micro-batch) → (sum of losses, sums of what is measured). The weights in the batch carry the denominator."""


def rows_at_once(limit: int, rows: int) -> int:
    """`limit` of them; all where there is no limit (0) or where there are fewer."""
    return min(limit, rows) if limit else rows


def accumulate(loss_sum: LossSum, params: Params, batch: dict, micro_batch: int) -> tuple[Params, jax.Array, dict]:
    """Gradient, loss and measurements summed over micro-batches of the leading axis, in float32, inside one jit.

    Sums only: whatever a mean needs to be divided by is known beforehand and stands in the batch, so the result does
    not depend on `micro_batch`. Measurements whose name ends in "/max" are combined by the maximum.

    Args:
        loss_sum: see `LossSum`.
        params: float32 master weights.
        batch: arrays [B, …].
        micro_batch: rows at a time, see `rows_at_once`; what comes of it divides B.
    """
    gradient = jax.value_and_grad(loss_sum, has_aux=True)
    rows = jax.tree.leaves(batch)[0].shape[0]
    micro_batch = rows_at_once(micro_batch, rows)
    if micro_batch == rows:
        (loss, sums), gradients = gradient(params, batch)
        return gradients, loss, sums

    # Micro-batch i takes rows i, i + n, i + 2n, …: each device keeps the rows that it holds already.
    pieces = rows // micro_batch
    cut = jax.tree.map(lambda x: jnp.moveaxis(x.reshape(micro_batch, pieces, *x.shape[1:]), 1, 0), batch)

    def combine(name: str, total: jax.Array, new: jax.Array) -> jax.Array:
        return jnp.maximum(total, new) if name.endswith("/max") else total + new

    def add(carry, piece):
        gradients, loss, sums = carry
        (new_loss, new_sums), new_gradients = gradient(params, piece)
        gradients = jax.tree.map(jnp.add, gradients, new_gradients)
        sums = {name: combine(name, sums[name], new_sums[name]) for name in sums}
        return (gradients, loss + new_loss, sums), None

    shapes = jax.eval_shape(gradient, params, jax.tree.map(lambda x: x[0], cut))
    (loss, sums), gradients = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    (gradients, loss, sums), _ = jax.lax.scan(add, (gradients, loss, sums), cut)
    return gradients, loss, sums
