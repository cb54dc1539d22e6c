"""An optimizer step on a batch that is too large to differentiate at once: gradients are summed piece by piece."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh

from rl_reason.models.experts import balance
from rl_reason.models.weights import Params
from rl_reason.parallel.mesh import replicated, to_devices
from rl_reason.recipes.optimizer import TrainState, apply_gradients

LOADS = "experts/loads"
"""Among what is measured, the loads of experts (`models.experts.loads`), of which metrics are made."""

Piece = dict[str, jax.Array]
Pieces = dict[str, jax.Array]
"""Pieces of the same shapes, one behind the other."""
Sums = dict[str, jax.Array]

LossSum = Callable[..., tuple[jax.Array, Sums]]
"""(weights, piece, what else it reads) → (sum of losses, sums of what is measured; maxima where a name ends in
"/max")."""


@struct.dataclass
class Totals:
    """What the pieces sum up to."""

    gradients: Params
    """float32, of what is trained."""
    loss: jax.Array
    sums: Sums


@dataclasses.dataclass(frozen=True)
class Step:
    """One optimizer step, as two jitted functions.

    Sums only: whatever a mean needs to be divided by is known beforehand, so the result does not depend on how a batch
    is cut.
    """

    gradients: Callable[..., Totals]
    """(state, pieces, number of pieces, int32 [], what else the loss reads) → their totals."""
    finish: Callable[[TrainState, Totals, jax.Array, jax.Array], tuple[TrainState, Sums]]
    """(state, totals, denominator of the loss, tokens) → the state afterwards, metrics; takes the state's buffers."""

    def __call__(
        self, state: TrainState, pieces: Pieces, count: int, denominator: float, tokens: float, *others: Any
    ) -> tuple[TrainState, Sums]:
        """The state after a step, and its metrics, not waited for. Takes the state's buffers.

        Args:
            state: before.
            pieces: on the mesh.
            count: the first so many of them are computed.
            denominator: what the sum of losses is divided by.
            tokens: what the sums of what is measured are divided by.
            others: trees of arrays that the loss reads of every piece, and that do not change.
        """
        totals = self.gradients(state, pieces, jnp.int32(count), *others)
        return self.finish(state, totals, jnp.float32(denominator), jnp.float32(tokens))


def take_piece(pieces: Pieces, i: jax.Array | int) -> Piece:
    """Piece i of several."""
    return {name: jax.lax.dynamic_index_in_dim(x, i, keepdims=False) for name, x in pieces.items()}


def make_step(loss_sum: LossSum, optimizer: optax.GradientTransformation, places: TrainState, mesh: Mesh) -> Step:
    """The step of a loss; `places` says where the state lies."""

    def gradients(state: TrainState, pieces: Pieces, count: jax.Array, *others: Any) -> Totals:
        def of_piece(i: jax.Array | int) -> Totals:
            piece = take_piece(pieces, i)
            policy_of = lambda trained: dataclasses.replace(state, params=trained).policy  # noqa: E731
            loss_of = lambda trained: loss_sum(policy_of(trained), piece, *others)  # noqa: E731
            (loss, sums), made = jax.value_and_grad(loss_of, has_aux=True)(state.params)
            return Totals(made, loss, sums)

        def add(i: jax.Array, totals: Totals) -> Totals:
            new = of_piece(i)
            larger = lambda name: jnp.maximum if name.endswith("/max") else jnp.add  # noqa: E731
            return Totals(
                jax.tree.map(jnp.add, totals.gradients, new.gradients),
                totals.loss + new.loss,
                {name: larger(name)(totals.sums[name], x) for name, x in new.sums.items()},
            )

        # A loop inside one program keeps one set of buffers for all pieces; how often it turns is not compiled.
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(of_piece, 0))
        return jax.lax.fori_loop(0, count, add, zeros)

    def finish(state: TrainState, totals: Totals, denominator: jax.Array, tokens: jax.Array) -> tuple[TrainState, Sums]:
        gradients = jax.tree.map(lambda g: g / denominator, totals.gradients)
        state = dataclasses.replace(state, opt_state=to_devices(state.opt_state, places.opt_state))
        state, metrics = apply_gradients(state, gradients, optimizer)
        sums = dict(totals.sums)
        metrics |= balance(sums.pop(LOADS)) if LOADS in sums else {}
        metrics |= {name: x if name.endswith("/max") else x / tokens for name, x in sums.items()}
        return state, metrics | {"loss": totals.loss / denominator, "tokens/update": tokens}

    everywhere = replicated(mesh)
    of_totals = Totals(places.params, everywhere, everywhere)  # type: ignore[arg-type]
    return Step(
        gradients=jax.jit(gradients, out_shardings=of_totals),
        finish=jax.jit(finish, donate_argnums=0, out_shardings=(places, everywhere)),
    )


def rows_at_once(limit: int, rows: int) -> int:
    """`limit` of them; all where there is no limit (0) or where there are fewer."""
    return min(limit, rows) if limit else rows
