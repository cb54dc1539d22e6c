"""An optimizer step on a batch that is too large to differentiate at once: gradients are summed piece by piece."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh

from rl_reason.models.experts import balance
from rl_reason.models.weights import Params
from rl_reason.parallel.mesh import replicated
from rl_reason.recipes.optimizer import TrainState, apply_gradients

LOADS = "experts/loads"
"""Among what is measured, the loads of experts (`models.experts.loads`), of which metrics are made."""

Piece = dict[str, jax.Array]
Sums = dict[str, jax.Array]

LossSum = Callable[[Params, Piece], tuple[jax.Array, Sums]]
"""(weights, piece) → (sum of losses, sums of what is measured; maxima where a name ends in "/max")."""


@struct.dataclass
class Totals:
    """What the pieces so far sum up to."""

    gradients: Params
    """float32, of what is trained."""
    loss: jax.Array
    sums: Sums


@dataclasses.dataclass(frozen=True)
class Step:
    """One optimizer step, as two jitted functions.

    Sums only: whatever a mean needs to be divided by is known beforehand, so the result does not depend on how a batch
    is cut. That the host goes through the pieces keeps their number out of what is compiled.
    """

    add: Callable[[TrainState, Totals, Piece], Totals]
    """Adds a piece's gradients; takes the totals' buffers."""
    finish: Callable[[TrainState, Totals, jax.Array, jax.Array], tuple[TrainState, Sums]]
    """(state, totals, denominator of the loss, tokens) → the state afterwards, metrics; takes the state's buffers."""
    zeros: Callable[[TrainState, Piece], Totals]
    shapes: Callable[[TrainState, Piece], Totals]
    """Of the totals, with their shardings."""

    def __call__(
        self, state: TrainState, pieces: Iterable[Piece], denominator: float, tokens: float
    ) -> tuple[TrainState, Sums]:
        """The state after a step, and its metrics, not waited for. Takes the state's buffers.

        Args:
            state: before.
            pieces: of the same shapes, on the mesh.
            denominator: what the sum of losses is divided by.
            tokens: what the sums of what is measured are divided by.
        """
        totals = None
        for piece in pieces:
            totals = self.zeros(state, piece) if totals is None else totals
            totals = self.add(state, totals, piece)
        assert totals is not None, "a batch has a piece"
        return self.finish(state, totals, jnp.float32(denominator), jnp.float32(tokens))


def make_step(loss_sum: LossSum, optimizer: optax.GradientTransformation, places: TrainState, mesh: Mesh) -> Step:
    """The step of a loss; `places` says where the state lies."""

    def gradient(state: TrainState, piece: Piece) -> Totals:
        loss_of = lambda trained: loss_sum(dataclasses.replace(state, params=trained).policy, piece)  # noqa: E731
        (loss, sums), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        return Totals(gradients, loss, sums)

    def add(state: TrainState, totals: Totals, piece: Piece) -> Totals:
        new = gradient(state, piece)
        larger = lambda name: jnp.maximum if name.endswith("/max") else jnp.add  # noqa: E731
        return Totals(
            jax.tree.map(jnp.add, totals.gradients, new.gradients),
            totals.loss + new.loss,
            {name: larger(name)(totals.sums[name], x) for name, x in new.sums.items()},
        )

    def finish(state: TrainState, totals: Totals, denominator: jax.Array, tokens: jax.Array) -> tuple[TrainState, Sums]:
        gradients = jax.tree.map(lambda g: g / denominator, totals.gradients)
        state, metrics = apply_gradients(state, gradients, optimizer)
        sums = dict(totals.sums)
        metrics |= balance(sums.pop(LOADS)) if LOADS in sums else {}
        metrics |= {name: x if name.endswith("/max") else x / tokens for name, x in sums.items()}
        return state, metrics | {"loss": totals.loss / denominator, "tokens/trained": tokens}

    everywhere = replicated(mesh)
    of_totals = Totals(places.params, everywhere, everywhere)  # type: ignore[arg-type]
    makers: dict[tuple, Callable[[], Totals]] = {}

    def shapes(state: TrainState, piece: Piece) -> Totals:
        put = lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)  # noqa: E731
        made = jax.eval_shape(gradient, state, piece)
        gradients = jax.tree.map(put, made.gradients, places.params)
        return Totals(gradients, *jax.tree.map(lambda x: put(x, everywhere), (made.loss, made.sums)))

    def zeros(state: TrainState, piece: Piece) -> Totals:
        of_piece = tuple(sorted((name, x.shape) for name, x in piece.items()))
        if of_piece not in makers:
            like = shapes(state, piece)
            makers[of_piece] = jax.jit(
                lambda: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like), out_shardings=of_totals
            )
        return makers[of_piece]()

    return Step(
        add=jax.jit(add, donate_argnums=1, out_shardings=of_totals),
        finish=jax.jit(finish, donate_argnums=0, out_shardings=(places, everywhere)),
        zeros=zeros,
        shapes=shapes,
    )


def rows_at_once(limit: int, rows: int) -> int:
    """`limit` of them; all where there is no limit (0) or where there are fewer."""
    return min(limit, rows) if limit else rows
