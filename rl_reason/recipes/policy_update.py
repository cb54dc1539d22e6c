"""What a policy-gradient step computes on its completions: their log-probabilities, and an update of the policy.

Both take a batch as `rollout.make_batch` makes it and compute it piece by piece, packed (`recipes.layout`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding

from rl_reason.models import decoder
from rl_reason.models.logprobs import token_logprobs
from rl_reason.models.weights import Params, cast
from rl_reason.objectives.policy_loss import PolicyLoss, differences
from rl_reason.parallel import hosts
from rl_reason.parallel.mesh import sharding
from rl_reason.recipes.accumulation import LOADS, Piece, Pieces, Step, Sums, make_step, take_piece
from rl_reason.recipes.layout import Layout, lay_out, make_pieces
from rl_reason.recipes.optimizer import TrainState
from rl_reason.recipes.setup import Model
from rl_reason.settings import Algorithm

Batch = Mapping[str, np.ndarray]


def shares_prompts(model: Model) -> bool:
    """Whether rows that continue one prompt share its computation: attention's kernels cannot."""
    return model.attention == "xla"


def completion_logprobs(
    params: Params, piece: Piece, model: Model, temperature: float, length: int
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """Log-probabilities and entropies of each token, float32 [R, W]; they mean something on completions only.

    Args:
        params: in the compute dtype.
        piece: of `layout.make_pieces`.
        model: what computes.
        temperature: of the sampler.
        length: most tokens of a prompt and its completion.

    Returns:
        Beside the two, the loads of experts by tokens of completions (`decoder.forward`).
    """
    prompts = None
    if "owners" in piece:
        prompts = decoder.Prompts(piece["prompt_tokens"], piece["prompt_segments"], piece["owners"])
    hidden, loads = decoder.predictors(
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
    logprobs, entropies = token_logprobs(
        hidden,
        decoder.head_weights(params),
        piece["tokens"],
        temperature,
        model.logprob_chunk,
        model.constrain,
        model.config.final_softcap,
    )
    return logprobs, entropies, loads


def pieces_sharding(x: np.ndarray, mesh: Mesh) -> NamedSharding:
    """Where an array of pieces lies: of each piece the rows, or prompts, are shared out."""
    return sharding(mesh, (None, "batch", *("time",) * (x.ndim - 2)), x.shape)


def place(pieces: Mapping[str, np.ndarray], mesh: Mesh) -> Pieces:
    """Pieces on the mesh."""
    return {name: hosts.place(x, pieces_sharding(x, mesh)) for name, x in pieces.items()}


def lay(batch: Batch, model: Model, at_once: int) -> Layout:
    """The layout of a batch for a model's mesh: a lane for each device that rows are shared out to."""
    ways = model.mesh.size // model.mesh.shape["tensor"]
    return lay_out(batch, shared=shares_prompts(model), at_once=at_once, lanes=ways)


@dataclass(frozen=True)
class Score:
    """`score(params, batch)`: log-probabilities of the completions' tokens, float32 [B, T], 0 behind them."""

    of_pieces: Callable[[Params, Pieces, jax.Array, int], jax.Array]
    """Jitted: (weights, pieces, number of pieces, int32 [], most tokens of a prompt and its completion) → [I, R, W]."""
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


def make_score(model: Model, temperature: float, micro_batch: int) -> Score:
    """The scoring of a batch by any weights.

    Args:
        model: what computes.
        temperature: of the sampler.
        micro_batch: rows whose activations may exist at the same time, 0: all.
    """

    @functools.partial(jax.jit, static_argnums=3)
    def of_pieces(params: Params, pieces: Pieces, count: jax.Array, length: int) -> jax.Array:
        params = cast(params, model.dtype)

        def put(i: jax.Array, out: jax.Array) -> jax.Array:
            made = completion_logprobs(params, take_piece(pieces, i), model, temperature, length)[0]
            return jax.lax.dynamic_update_index_in_dim(out, made, i, 0)

        return jax.lax.fori_loop(0, count, put, jnp.zeros(pieces["tokens"].shape, jnp.float32))

    return Score(of_pieces, model, micro_batch)


@dataclass(frozen=True)
class Update:
    """`update(state, batch, denominator) -> (state, metrics)`: one optimizer step on one minibatch.

    The batch holds what `rollout.make_batch` and `rollout.weigh` make, `advantages` [B] or [B, T] and, where they are
    needed, `old_logprobs` (else
    the policy is the one that sampled: the ratio is 1 and has the gradient of log π) and `reference_logprobs` (else
    there is no KL term). Takes the state's buffers; the metrics are not waited for.
    """

    step: Callable[[int], Step]
    """By the most tokens of a prompt and its completion."""
    model: Model
    micro_batch: int
    skips_zeros: bool
    """Whether the loss of a completion without an advantage is constant: then it is not computed."""

    def __call__(self, state: TrainState, batch: Batch, denominator: float) -> tuple[TrainState, Sums]:
        if self.skips_zeros:
            teaches_B = np.any(batch["advantages"].reshape(len(batch["mask"]), -1), axis=1)
            batch = {**batch, "mask": batch["mask"] * teaches_B[:, None]}
        layout = lay(batch, self.model, self.micro_batch)
        pieces = place(make_pieces(batch, layout), self.model.mesh)
        step = self.step(batch["tokens"].shape[1])
        return step(state, pieces, layout.pieces, denominator, float(batch["mask"].sum()))


def make_update(
    model: Model,
    algorithm: Algorithm,
    optimizer: optax.GradientTransformation,
    temperature: float,
    state_shardings: TrainState,
    micro_batch: int,
) -> Update:
    """The update of a policy; `micro_batch` as in `make_score`."""

    policy_loss = make_loss(algorithm)

    def loss_sum(length: int, params: Params, piece: Piece) -> tuple[jax.Array, Sums]:
        logprobs, entropies, loads = completion_logprobs(cast(params, model.dtype), piece, model, temperature, length)
        mask = piece["mask"]
        old = piece.get("old_logprobs", jax.lax.stop_gradient(logprobs))
        loss, sums = policy_loss(
            logprobs,
            old,
            piece.get("reference_logprobs"),
            piece["sampler_logprobs"],
            entropies,
            piece["advantages"],
            mask,
            piece["segments"],
            piece["weights"],
        )
        if algorithm.old_logprobs == "sampler":  # Then only the update itself tells what the trainer computes.
            sums |= differences(jax.lax.stop_gradient(logprobs), piece["sampler_logprobs"], mask)
        return loss, sums if loads is None else sums | {LOADS: loads}

    @functools.cache
    def step(length: int) -> Step:
        return make_step(functools.partial(loss_sum, length), optimizer, state_shardings, model.mesh)

    skips_zeros = not (policy_loss.kl_coef or policy_loss.entropy_coef)
    return Update(step, model, micro_batch, skips_zeros)


def make_loss(algorithm: Algorithm) -> PolicyLoss:
    """The loss that the settings ask for."""
    return PolicyLoss(
        surrogate=algorithm.surrogate,
        ratio_level=algorithm.ratio_level,
        clip_low=algorithm.clip_low,
        clip_high=algorithm.clip_high,
        dual_clip=algorithm.dual_clip,
        kl_coef=algorithm.kl_coef if algorithm.kl_in == "loss" else 0.0,
        kl_estimator=algorithm.kl_estimator,
        entropy_coef=algorithm.entropy_coef,
        correction=algorithm.correction,
        correction_limit=algorithm.correction_limit,
    )
