"""What is computed of completions piece by piece, packed (`recipes.layout`): log-probabilities, scores, values.

All take a batch as `rollout.make_batch` makes it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from rl_reason.models import decoder
from rl_reason.models.logprobs import token_logprobs
from rl_reason.models.weights import Params, cast
from rl_reason.parallel import company, hosts
from rl_reason.parallel.mesh import lanes, sharding
from rl_reason.recipes.accumulation import Piece, Pieces, take_piece
from rl_reason.recipes.layout import Layout, lay_out, make_pieces
from rl_reason.recipes.setup import Model

Batch = Mapping[str, np.ndarray]


def shares_prompts(model: Model) -> bool:
    """Whether rows that continue one prompt share its computation: attention's kernels cannot."""
    return model.attention == "xla"


def completion_states(params: Params, piece: Piece, model: Model, length: int) -> decoder.States:
    """The hidden states of a piece's tokens.

    Args:
        params: in the compute dtype.
        piece: of `layout.make_pieces`.
        model: what computes.
        length: most tokens of a prompt and its completion.
    """
    prompts = None
    if "owners" in piece:
        prompts = decoder.Prompts(piece["prompt_tokens"], piece["prompt_segments"], piece["owners"])
    return decoder.states(
        params,
        piece["tokens"],
        piece["segments"],
        prompts,
        model.config,
        model.remat,
        model.constrain,
        model.attention,
        length,
        piece["mask"] > 0,
    )


def completion_logprobs(
    params: Params, states: decoder.States, piece: Piece, model: Model, temperature: float
) -> tuple[jax.Array, jax.Array]:
    """Log-probabilities and entropies of each token at the sampler's temperature, float32 [R, W]; they mean something
    on completions only."""
    return token_logprobs(
        states.before,
        decoder.head_weights(params),
        piece["tokens"],
        temperature,
        model.logprob_chunk,
        model.constrain,
        model.config.final_softcap,
    )


def completion_scores(params: Params, piece: Piece, model: Model, length: int) -> jax.Array:
    """The score of each token with all before it, float32 [R, W]: what a reward model gives."""
    return decoder.scores(params, completion_states(params, piece, model, length).own)


def completion_values(params: Params, piece: Piece, model: Model, length: int) -> jax.Array:
    """The score of what stands before each token, a critic's value, and of what stands there with it: float32
    [R, W, 2]."""
    states = completion_states(params, piece, model, length)
    return jnp.stack([decoder.scores(params, states.before), decoder.scores(params, states.own)], axis=-1)


def pieces_sharding(x: np.ndarray, mesh: Mesh) -> NamedSharding:
    """Where an array of pieces lies: of each piece the rows, or prompts, are shared out."""
    return sharding(mesh, (None, "batch", *("time",) * (x.ndim - 2)), x.shape)


def place(pieces: Mapping[str, np.ndarray], mesh: Mesh) -> Pieces:
    """Pieces on the mesh."""
    return {name: hosts.place(x, pieces_sharding(x, mesh)) for name, x in pieces.items()}


def lay(batch: Batch, model: Model, at_once: int) -> Layout:
    """The layout of a batch for a model's mesh: a lane for each device that rows are shared out to."""
    # Prompts that hardly any completions share take less room beside theirs than rows of their own.
    is_shared = 2 * company.most(len(np.unique(batch["questions"]))) <= len(batch["questions"])
    return lay_out(
        batch,
        shared=is_shared and shares_prompts(model),
        at_once=at_once,
        lanes=lanes(model.mesh),
        parts=model.mesh.shape["sequence"],
    )


@dataclass(frozen=True)
class Score:
    """`score(params, batch)`: a number of each of the completions' tokens, or several, float32 [B, T, …], 0 behind
    them."""

    of_pieces: Callable[[Params, Pieces, jax.Array, int], Any]
    """Jitted: (weights, pieces, number of pieces, int32 [], most tokens of a prompt and its completion) →
    [I, R, W, …]."""
    model: Model
    micro_batch: int

    def __call__(self, params: Params, batch: Batch) -> np.ndarray:
        return self.begin(params, batch)()

    def begin(self, params: Params, batch: Batch) -> Callable[[], np.ndarray]:
        """Dispatches; what it returns waits."""
        read = {name: batch[name] for name in ("tokens", "segments", "mask", "questions")}
        layout = lay(read, self.model, self.micro_batch)
        pieces = place(make_pieces(read, layout), self.model.mesh)
        made = self.of_pieces(params, pieces, jnp.int32(layout.pieces), batch["tokens"].shape[1])
        return lambda: layout.collect(hosts.fetch(made), batch["mask"].shape[1])


OfPiece = Callable[[Params, Piece, Model, int], Any]
"""(weights in the compute dtype, piece, model, most tokens of a prompt and its completion) → float32 [R, W, …]; or a
tree of arrays, for those who take `Score.of_pieces` itself."""


def make_scoring(model: Model, of_piece: OfPiece, micro_batch: int) -> Score:
    """The scoring of a batch by any weights of a model.

    Args:
        model: what computes.
        of_piece: such as `completion_values` or `completion_scores`.
        micro_batch: rows whose activations may exist at the same time, 0: all.
    """

    @functools.partial(jax.jit, static_argnums=3)
    def of_pieces(params: Params, pieces: Pieces, count: jax.Array, length: int) -> Any:
        params = cast(params, model.dtype)

        def make(i: jax.Array | int) -> Any:
            return of_piece(params, take_piece(pieces, i), model, length)

        def put(i: jax.Array, out: Any) -> Any:
            into = lambda all_of, one: jax.lax.dynamic_update_index_in_dim(all_of, one, i, 0)  # noqa: E731
            return jax.tree.map(into, out, make(i))

        zeros = lambda one: jnp.zeros((len(pieces["tokens"]), *one.shape), one.dtype)  # noqa: E731
        return jax.lax.fori_loop(0, count, put, jax.tree.map(zeros, jax.eval_shape(make, 0)))

    return Score(of_pieces, model, micro_batch)


def make_score(model: Model, temperature: float, micro_batch: int) -> Score:
    """log π of each token at the sampler's temperature."""

    def of_piece(params: Params, piece: Piece, model: Model, length: int) -> jax.Array:
        states = completion_states(params, piece, model, length)
        return completion_logprobs(params, states, piece, model, temperature)[0]

    return make_scoring(model, of_piece, micro_batch)
