"""The training state on the mesh: made from the model's weights, or restored from the newest checkpoint.

A checkpoint holds {"train": TrainState} and, where a KL term needs it, "reference": weights in the compute dtype.
"""

from __future__ import annotations

import jax
import optax

from rl_reason.models.weights import Params, cast
from rl_reason.parallel.mesh import replicated
from rl_reason.recipes.optimizer import TrainState, init_state, state_shardings
from rl_reason.recipes.setup import Model
from rl_reason.runtime.checkpoints import Checkpoints
from rl_reason.settings import Settings

State = dict
"""{"train": TrainState, "reference": Params}, the latter only where it is needed."""


def needs_reference(settings: Settings) -> bool:
    """Whether the run's loss has a KL term."""
    return settings.recipe != "supervised" and settings.algorithm.kl_coef > 0


def abstract_state(model: Model, optimizer: optax.GradientTransformation, with_reference: bool) -> State:
    """Shapes, dtypes and shardings of the state, without its arrays."""
    params = model.abstract_params()
    places = state_shardings(params, optimizer, replicated(model.mesh))

    def place(shapes, shardings):
        return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings)

    state: State = {"train": place(jax.eval_shape(lambda p: init_state(p, optimizer), params), places)}
    if with_reference:
        state["reference"] = place(jax.eval_shape(lambda p: cast(p, model.dtype), params), places.params)
    return state


def train_shardings(abstract: State) -> TrainState:
    return jax.tree.map(lambda x: x.sharding, abstract["train"])


def restore_or_start(
    abstract: State, model: Model, optimizer: optax.GradientTransformation, checkpoints: Checkpoints, seed: int
) -> tuple[int, State, dict]:
    """(steps behind it, state, position in the data) of the newest checkpoint, or a fresh start: (0, state, {})."""
    restored = checkpoints.restore_latest(abstract)
    if restored is not None:
        return restored
    params = model.load_params(seed)
    state: State = {}
    if "reference" in abstract:
        state["reference"] = copy_weights(params, model)
    state["train"] = jax.jit(lambda p: init_state(p, optimizer), out_shardings=train_shardings(abstract))(params)
    return 0, state, {}


def copy_weights(params: Params, model: Model) -> Params:
    """A copy in the compute dtype, in buffers of its own: the policy's are donated to its next update."""
    return jax.jit(lambda p: cast(p, model.dtype), out_shardings=model.shardings())(params)
