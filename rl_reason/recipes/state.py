"""The training state on the mesh: made from the model's weights, or restored from the newest checkpoint.

A checkpoint holds {"train": TrainState} and, where there is a critic of its own or a reward model that is trained on,
"critic" and "reward_model": TrainState, and where a KL term needs it, "reference": weights in the compute dtype. What
lies frozen beneath adapters is read from its files again; it is the reference then.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from pathlib import Path

import jax
import optax

from rl_reason.models.lora import merge
from rl_reason.models.weights import Params, cast
from rl_reason.objectives.policy_loss import is_on
from rl_reason.parallel.mesh import on_host, replicated, to_devices
from rl_reason.recipes.optimizer import TrainState, init_state, state_shardings
from rl_reason.recipes.setup import Model
from rl_reason.runtime.checkpoints import Checkpoints
from rl_reason.settings import Settings

State = dict
"""{"train", "critic", "reward_model": TrainState, "reference": Params}, the latter ones only where they are needed."""


def needs_reference(settings: Settings) -> bool:
    """Whether the run's loss compares with a reference, which is not what lies beneath adapters."""
    compares_with_none = settings.recipe in ("supervised", "rejection", "reward_model", "distillation")
    if compares_with_none or settings.model.lora_rank or settings.model.lora_path:
        return False
    return settings.recipe == "preference" or is_on(settings.algorithm.kl_coef)


Learner = tuple[Model, optax.GradientTransformation]


def abstract_state(
    model: Model,
    optimizer: optax.GradientTransformation,
    with_reference: bool,
    others: Mapping[str, Learner] = types.MappingProxyType({}),
) -> State:
    """Shapes, dtypes and shardings of the state as checkpoints hold it, without its arrays. `others`: a critic, a
    reward model, what else learns, by its name in the state."""
    params = model.trained()
    places = state_shardings(params, optimizer, replicated(model.mesh))
    if "optimizer" in model.offload:
        places = dataclasses.replace(places, opt_state=on_host(places.opt_state))

    def place(shapes, shardings):
        return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings)

    state: State = {"train": place(jax.eval_shape(lambda p: init_state(p, optimizer), params), places)}
    if with_reference:
        of_reference = on_host(places.params) if "reference" in model.offload else places.params
        state["reference"] = place(jax.eval_shape(lambda p: cast(p, model.dtype), params), of_reference)
    for name, learner in others.items():
        state[name] = abstract_state(*learner, with_reference=False)["train"]
    return state


def train_shardings(abstract: State, model: Model) -> TrainState:
    """Where all of the policy's part lies."""
    places = jax.tree.map(lambda x: x.sharding, abstract["train"])
    return places.replace(frozen=model.shardings()) if model.config.lora else places


def without_frozen(state: State) -> State:
    """What a checkpoint holds."""
    return {**state, "train": state["train"].replace(frozen=None)}


def restore_or_start(
    abstract: State,
    model: Model,
    optimizer: optax.GradientTransformation,
    folder: Path,
    seed: int,
    others: Mapping[str, Learner] = types.MappingProxyType({}),
) -> tuple[int, State, dict]:
    """(steps behind it, state, position in the data) of the newest checkpoint, or a fresh start: (0, state, {}).

    Writes nothing: weights that cannot be used are found before the run's folder is made.
    """
    with Checkpoints(folder, keep=0, read_only=True) as checkpoints:
        restored = checkpoints.restore_latest(abstract)
    if restored is not None:
        restored = *restored[:2], restored[2]["position"]
        if not model.config.lora:
            return restored
    # Beneath adapters there is no need of masters, which would take twice the memory.
    frozen = model.load_params(seed, model.dtype) if model.config.lora else None
    if restored is not None:
        steps, state, position = restored
        return steps, {**state, "train": state["train"].replace(frozen=frozen)}, position
    trained = model.load_adapters(seed) if model.config.lora else model.load_params(seed)
    state = {}
    if "reference" in abstract:
        state["reference"] = make_reference(trained, model)
    for name, (other, of_other) in others.items():
        state[name] = _start(other.load_params(seed), of_other, abstract[name])
    start = _start(trained, optimizer, abstract["train"])
    return 0, {**state, "train": dataclasses.replace(start, frozen=frozen)}, {}


def _start(params: Params, optimizer: optax.GradientTransformation, abstract: TrainState) -> TrainState:
    places = jax.tree.map(lambda x: x.sharding, abstract)
    return jax.jit(lambda p: init_state(p, optimizer), out_shardings=places)(params)


def final_weights(model: Model, trained: Params, seed: int) -> Params:
    """The policy as float32 weights without adapters, which are merged into those of the files."""
    if not model.config.lora:
        return trained
    return merge(model.load_params(seed), trained, model.config)


def make_reference(params: Params, model: Model) -> Params:
    """A copy in the compute dtype, in buffers of its own: the policy's are donated to its next update."""
    copied = jax.jit(lambda p: cast(p, model.dtype), out_shardings=model.shardings())(params)
    return jax.device_put(copied, on_host(model.shardings())) if "reference" in model.offload else copied


def reference_of(state: State) -> Params:
    """What a loss compares with, on the devices. What lies frozen beneath adapters is it without a second copy."""
    params = state.get("reference", state["train"].frozen)
    return to_devices(params, jax.tree.map(lambda x: x.sharding, params))
