"""The update of a policy on a batch of completions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np
import optax

from rl_reason.models import decoder
from rl_reason.models.weights import Params, cast
from rl_reason.objectives.policy_loss import PolicyLoss, differences, is_on
from rl_reason.recipes.accumulation import LOADS, Piece, Step, Sums, make_step
from rl_reason.recipes.completions import Batch, completion_logprobs, completion_states, lay, place
from rl_reason.recipes.critic import value_sums
from rl_reason.recipes.layout import make_pieces
from rl_reason.recipes.optimizer import TrainState
from rl_reason.recipes.setup import Model
from rl_reason.settings import Algorithm, Critic


@dataclass(frozen=True)
class Update:
    """`update(state, batch, denominator) -> (state, metrics)`: one optimizer step on one minibatch.

    The batch holds what `rollout.make_batch` and `rollout.weigh` make, `advantages` [B] or [B, T] and, where they are
    needed, `old_logprobs` (else the policy is the one that sampled: the ratio is 1 and has the gradient of log π),
    `reference_logprobs` (else there is no KL term), `old_values` and `returns` [B, T] (of a shared critic). Takes the
    state's buffers; the metrics are not waited for.
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
    shared: Critic | None = None,
) -> Update:
    """The update of a policy; `micro_batch` as in `completions.make_scoring`, `shared` a critic on its last layer."""

    policy_loss = make_loss(algorithm)

    def loss_sum(length: int, params: Params, piece: Piece) -> tuple[jax.Array, Sums]:
        params = cast(params, model.dtype)
        states = completion_states(params, piece, model, length)
        logprobs, entropies = completion_logprobs(params, states, piece, model, temperature)
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
        if shared:
            value_loss, watched = value_sums(decoder.scores(params, states.before), piece, shared)
            loss, sums = loss + shared.coef * value_loss, sums | watched
        return loss, sums if states.loads is None else sums | {LOADS: states.loads}

    @functools.cache
    def step(length: int) -> Step:
        return make_step(functools.partial(loss_sum, length), optimizer, state_shardings, model.mesh)

    skips_zeros = not (is_on(policy_loss.kl_coef) or is_on(policy_loss.entropy_coef) or shared)
    return Update(step, model, micro_batch, skips_zeros)


def make_loss(algorithm: Algorithm) -> PolicyLoss:
    """The loss that the settings ask for."""
    return PolicyLoss(
        surrogate=algorithm.surrogate,
        ratio_level=algorithm.ratio_level,
        clip_low=algorithm.clip_low,
        clip_high=algorithm.clip_high,
        dual_clip=algorithm.dual_clip,
        sapo_positive=algorithm.sapo_positive,
        sapo_negative=algorithm.sapo_negative,
        kl_coef=algorithm.kl_coef if algorithm.kl_in == "loss" else 0.0,
        kl_estimator=algorithm.kl_estimator,
        kl_limit=algorithm.kl_limit,
        entropy_coef=algorithm.entropy_coef,
        correction=algorithm.correction,
        correction_limit=algorithm.correction_limit,
    )
