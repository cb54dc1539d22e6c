"""The optimizer and its state: AdamW with warm-up, clipping by global norm and a schedule, all from optax."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import optax
from flax import struct

from rl_reason import settings
from rl_reason.errors import UsageError
from rl_reason.models.lora import join
from rl_reason.models.weights import Params


@struct.dataclass
class TrainState:
    """Everything that an update changes, and what stands behind it."""

    params: Params
    """What is trained, float32: the weights, or their adapters."""
    opt_state: optax.OptState
    updates: jax.Array
    """Optimizer steps."""
    frozen: Params | None = None
    """The weights beneath adapters, in the compute dtype; None: there are none. Not in checkpoints."""

    @property
    def policy(self) -> Params:
        """All that the decoder reads."""
        return self.params if self.frozen is None else join(self.frozen, self.params)


def learning_rate_schedule(algorithm: settings.Algorithm, updates: int) -> optax.Schedule:
    """Learning rate by optimizer step: linear warm-up, then constant or a cosine that ends after `updates` steps."""
    warmup = algorithm.warmup_steps
    if algorithm.schedule == "constant":
        after = optax.constant_schedule(algorithm.learning_rate)
    elif algorithm.schedule == "cosine":
        final = algorithm.final_learning_rate / algorithm.learning_rate
        after = optax.cosine_decay_schedule(algorithm.learning_rate, max(updates - warmup - 1, 1), alpha=final)
    else:
        raise UsageError(f"config.algorithm.schedule={algorithm.schedule!r}: expected 'constant' or 'cosine'")
    if not warmup:
        return after
    # The first step has a rate above zero: (i + 1) / warmup of the full one.
    rise = optax.linear_schedule(algorithm.learning_rate / warmup, algorithm.learning_rate, warmup - 1)
    return optax.join_schedules([rise, after], [warmup])


def make_optimizer(algorithm: settings.Algorithm, updates: int) -> optax.GradientTransformation:
    """AdamW as the settings say; norms' scales and biases do not decay."""
    return optax.chain(
        optax.clip_by_global_norm(algorithm.max_grad_norm) if algorithm.max_grad_norm > 0 else optax.identity(),
        optax.adamw(
            learning_rate_schedule(algorithm, updates),
            b1=algorithm.b1,
            b2=algorithm.b2,
            eps=algorithm.adam_eps,
            weight_decay=algorithm.weight_decay,
            mask=_decays,
        ),
    )


def _decays(params: Params) -> Params:
    return jax.tree_util.tree_map_with_path(
        lambda path, _: not any(str(key.key).endswith(("norm", "bias")) for key in path), params
    )


def init_state(params: Params, optimizer: optax.GradientTransformation) -> TrainState:
    return TrainState(params=params, opt_state=optimizer.init(params), updates=jnp.zeros((), jnp.int32))


@jax.named_scope("optimizer")
def apply_gradients(
    state: TrainState, gradients: Params, optimizer: optax.GradientTransformation
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One optimizer step; returns the norms of the gradient (before clipping) and of the change."""
    changes, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, changes)
    norms = {"optimizer/grad_norm": optax.tree.norm(gradients), "optimizer/update_norm": optax.tree.norm(changes)}
    return dataclasses.replace(state, params=params, opt_state=opt_state, updates=state.updates + 1), norms


def state_shardings(
    abstract_params: Params, optimizer: optax.GradientTransformation, otherwise: jax.sharding.Sharding
) -> TrainState:
    """Where a state lies: what the optimizer keeps for a weight lies where the weight does, the rest `otherwise`."""
    shardings = jax.tree.map(lambda weight: weight.sharding, abstract_params)
    abstract = jax.eval_shape(lambda params: init_state(params, optimizer), abstract_params)
    opt_state = optax.tree.map_params(
        optimizer,
        lambda _, place: place,
        abstract.opt_state,
        shardings,
        transform_non_params=lambda _: otherwise,
    )
    return TrainState(params=shardings, opt_state=opt_state, updates=otherwise)  # type: ignore[arg-type]
