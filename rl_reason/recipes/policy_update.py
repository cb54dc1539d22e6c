"""The two jitted functions of a policy-gradient step: scoring completions, and updating the policy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from rl_reason.models import decoder
from rl_reason.models.experts import balance
from rl_reason.models.logprobs import token_logprobs
from rl_reason.models.weights import Params, cast
from rl_reason.objectives.grpo import grpo_loss
from rl_reason.parallel.mesh import replicated
from rl_reason.recipes.accumulation import accumulate, rows_at_once
from rl_reason.recipes.optimizer import TrainState, apply_gradients
from rl_reason.recipes.setup import Model
from rl_reason.settings import Algorithm

LOADS = "experts/loads"
"""Among the sums over micro-batches, which become metrics: the loads of experts."""


def forward(params: Params, batch: dict, model: Model) -> tuple[jax.Array, jax.Array | None]:
    """`decoder.forward` of the batch's `tokens` in their `segments`, computed as the model's settings say."""
    return decoder.forward(
        params, batch["tokens"], batch["segments"], model.config, model.remat, model.constrain, model.attention
    )


def completion_logprobs(
    params: Params, batch: dict, model: Model, temperature: float
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """Log-probabilities and entropies, float32 [B, T], of the completions' tokens; weights in the compute dtype.

    The third is what `decoder.forward` tells of experts.
    """
    completion = batch["mask"].shape[1]
    hidden, loads = forward(params, batch, model)
    # The last prompt token predicts the first one of the completion; the last token predicts nothing.
    logprobs, entropies = token_logprobs(
        hidden[:, -completion - 1 : -1],
        decoder.head_weights(params),
        batch["tokens"][:, -completion:],
        temperature,
        model.logprob_chunk,
        model.constrain,
        model.config.final_softcap,
    )
    return logprobs, entropies, loads


def make_score(model: Model, temperature: float, micro_batch: int) -> Callable[[Params, dict], jax.Array]:
    """`score(params, batch) -> logprobs [B, T]`, `micro_batch` rows at a time, a divisor of B (0: all)."""

    @jax.jit
    def score(params: Params, batch: dict) -> jax.Array:
        params = cast(params, model.dtype)
        batch = {name: batch[name] for name in ("tokens", "segments", "mask")}
        rows = batch["mask"].shape[0]
        at_once = rows_at_once(micro_batch, rows)
        if at_once == rows:
            return completion_logprobs(params, batch, model, temperature)[0]
        pieces = rows // at_once
        cut = jax.tree.map(lambda x: jnp.moveaxis(x.reshape(at_once, pieces, -1), 1, 0), batch)
        made = jax.lax.map(lambda piece: completion_logprobs(params, piece, model, temperature)[0], cut)
        return jnp.moveaxis(made, 0, 1).reshape(rows, -1)

    return score


Update = Callable[[TrainState, dict, jax.Array], tuple[TrainState, dict[str, jax.Array]]]


def make_update(
    model: Model,
    algorithm: Algorithm,
    optimizer: optax.GradientTransformation,
    temperature: float,
    state_shardings: TrainState,
    micro_batch: int,
) -> Update:
    """`update(state, batch, denominator) -> (state, metrics)`: one optimizer step on one minibatch.

    The batch holds what `rollout.make_batch` and `rollout.weigh` make and, where they are needed, `old_logprobs` (else
    the policy is the one that sampled: the ratio is 1 and has the gradient of log π) and `reference_logprobs` (else
    there is no KL term).
    """

    def loss_sum(params: Params, batch: dict) -> tuple[jax.Array, dict[str, jax.Array]]:
        logprobs, entropies, loads = completion_logprobs(cast(params, model.dtype), batch, model, temperature)
        mask = batch["mask"]
        old = batch.get("old_logprobs", jax.lax.stop_gradient(logprobs))
        loss, sums = grpo_loss(
            logprobs,
            old,
            batch.get("reference_logprobs"),
            batch["advantages"],
            mask,
            batch["weights"],
            clip_low=algorithm.clip_low,
            clip_high=algorithm.clip_high,
            kl_coef=algorithm.kl_coef,
            ratio_level=algorithm.ratio_level,
        )
        difference = (old - batch["sampler_logprobs"]) * mask
        sums["logprob_difference/mean"] = jnp.sum(jnp.abs(difference))
        sums["logprob_difference/ratio"] = jnp.sum(jnp.exp(difference) * mask)
        sums["logprob_difference/max"] = jnp.max(jnp.abs(difference))
        sums["entropy"] = jnp.sum(entropies * mask)
        return loss, sums if loads is None else sums | {LOADS: loads}

    def update(state: TrainState, batch: dict, denominator: jax.Array) -> tuple[TrainState, dict[str, jax.Array]]:
        loss_of = lambda trained, rows: loss_sum(dataclasses.replace(state, params=trained).policy, rows)  # noqa: E731
        gradients, loss, sums = accumulate(loss_of, state.params, batch, micro_batch)
        gradients = jax.tree.map(lambda g: g / denominator, gradients)
        state, metrics = apply_gradients(state, gradients, optimizer)
        tokens = jnp.sum(batch["mask"])
        metrics |= balance(sums.pop(LOADS)) if LOADS in sums else {}
        metrics |= {name: x if name.endswith("/max") else x / tokens for name, x in sums.items()}
        return state, metrics | {"loss": loss / denominator}

    return jax.jit(update, donate_argnums=0, out_shardings=(state_shardings, replicated(model.mesh)))
