"""The training state on the mesh: made from the model's weights, or restored from the newest checkpoint.

A checkpoint holds {"train": TrainState} and, where the loss needs it, "reference": weights in the compute dtype. What
lies frozen beneath adapters is read from its files again; it is the reference then.
"""

from __future__ import annotations

from pathlib import Path

import jax
import optax

from rl_reason.models.lora import merge
from rl_reason.models.weights import Params, cast
from rl_reason.parallel.mesh import replicated
from rl_reason.recipes.optimizer import TrainState, init_state, state_shardings
from rl_reason.recipes.setup import Model
from rl_reason.runtime.checkpoints import Checkpoints
from rl_reason.settings import Settings

State = dict
"""{"train": TrainState, "reference": Params}, the latter only where it is needed."""


def needs_reference(settings: Settings) -> bool:
    """Whether the run's loss compares with a reference, which is not what lies beneath adapters."""
    if settings.recipe in ("supervised", "rejection") or settings.model.lora_rank or settings.model.lora_path:
        return False
    return settings.recipe == "preference" or settings.algorithm.kl_coef > 0


def abstract_state(model: Model, optimizer: optax.GradientTransformation, with_reference: bool) -> State:
    """Shapes, dtypes and shardings of the state as checkpoints hold it, without its arrays."""
    params = model.trained()
    places = state_shardings(params, optimizer, replicated(model.mesh))

    def place(shapes, shardings):
        return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings)

    state: State = {"train": place(jax.eval_shape(lambda p: init_state(p, optimizer), params), places)}
    if with_reference:
        state["reference"] = place(jax.eval_shape(lambda p: cast(p, model.dtype), params), places.params)
    return state


def train_shardings(abstract: State, model: Model) -> TrainState:
    """Where the whole state lies."""
    places = jax.tree.map(lambda x: x.sharding, abstract["train"])
    return places.replace(frozen=model.shardings()) if model.config.lora else places


def without_frozen(state: State) -> State:
    """What a checkpoint holds."""
    return {**state, "train": state["train"].replace(frozen=None)}


def restore_or_start(
    abstract: State, model: Model, optimizer: optax.GradientTransformation, folder: Path, seed: int
) -> tuple[int, State, dict]:
    """(steps behind it, state, position in the data) of the newest checkpoint, or a fresh start: (0, state, {}).

    Writes nothing: weights that cannot be used are found before the run's folder is made.
    """
    with Checkpoints(folder, keep=0, read_only=True) as checkpoints:
        restored = checkpoints.restore_latest(abstract)
    if restored is not None and not model.config.lora:
        return restored
    # Beneath adapters there is no need of masters, which would take twice the memory.
    frozen = model.load_params(seed, model.dtype) if model.config.lora else None
    if restored is not None:
        steps, state, position = restored
        return steps, {**state, "train": state["train"].replace(frozen=frozen)}, position
    trained = model.load_adapters(seed) if model.config.lora else model.load_params(seed)
    state = {}
    if "reference" in abstract:
        state["reference"] = copy_weights(trained, model)
    places = jax.tree.map(lambda x: x.sharding, abstract["train"])
    start = jax.jit(lambda p: init_state(p, optimizer), out_shardings=places)(trained)
    return 0, {**state, "train": start.replace(frozen=frozen)}, {}


def final_weights(model: Model, train: TrainState, seed: int) -> Params:
    """The policy as float32 weights without adapters, which are merged into those of the files."""
    if not model.config.lora:
        return train.params
    return merge(model.load_params(seed), train.params, model.config)


def copy_weights(params: Params, model: Model) -> Params:
    """A copy in the compute dtype, in buffers of its own: the policy's are donated to its next update."""
    return jax.jit(lambda p: cast(p, model.dtype), out_shardings=model.shardings())(params)
