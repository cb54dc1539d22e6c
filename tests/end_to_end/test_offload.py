"""What waits in the host's memory is there when nothing works on it, and changes no number."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_reason.errors import UsageError
from rl_reason.parallel.mesh import HOST, make_mesh
from rl_reason.recipes.accumulation import make_step
from rl_reason.recipes.optimizer import make_optimizer
from rl_reason.recipes.setup import describe_by_config
from rl_reason.recipes.state import abstract_state, reference_of, restore_or_start, train_shardings, without_frozen
from rl_reason.runtime.checkpoints import Checkpoints
from rl_reason.settings import Algorithm, Mesh
from rl_reason.settings import Model as ModelSettings
from tests.end_to_end.commands import read
from tests.end_to_end.test_resume import assert_same_run


def kinds(tree):
    return {x.sharding.memory_kind for x in jax.tree.leaves(tree)}


def run_updates(model_path, folder, offload):
    """Two updates, a checkpoint, and the state that is restored."""
    settings = ModelSettings(path=str(model_path), offload=offload)
    model = describe_by_config(settings, make_mesh(Mesh(data=1, fsdp=2), jax.devices()[:2]))
    optimizer = make_optimizer(Algorithm(learning_rate=1e-2), 4)
    abstract = abstract_state(model, optimizer, with_reference=True)
    _, state, _ = restore_or_start(abstract, model, optimizer, folder, 0)
    loss = lambda params, piece: (sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(params)) * piece["x"][0], {})  # noqa: E731
    step = make_step(loss, optimizer, train_shardings(abstract, model), model.mesh)
    for _ in range(2):
        state["train"], _ = step(state["train"], {"x": jnp.ones((1, 1))}, 1, 1.0, 1.0)
    with Checkpoints(folder, 1) as checkpoints:
        checkpoints.save(2, without_frozen(state), {"position": {}, "evaluated": True})
    steps, restored, _ = restore_or_start(abstract, model, optimizer, folder, 0)
    assert steps == 2
    return state, restored


@pytest.mark.slow
def test_state_waits_on_the_host_between_updates(tiny_model, tmp_path):
    expected, _ = run_updates(tiny_model, tmp_path / "one", ())
    made, restored = run_updates(tiny_model, tmp_path / "other", ("optimizer", "reference"))
    assert kinds(expected["train"]) == kinds(expected["reference"]) == {"device"}
    for state in (made, restored):
        assert kinds(state["train"].opt_state) == kinds(state["reference"]) == {HOST}
        assert kinds(state["train"].params) == kinds(reference_of(state)) == {"device"}
        jax.tree.map(np.testing.assert_array_equal, without_frozen(state), without_frozen(expected))


@pytest.mark.slow
def test_a_run_is_the_same_run(commands, finished_run, tmp_path):
    run = tmp_path / "run"
    arguments = commands.grpo(run, "--config.model.offload=('optimizer','reference')")
    commands.succeed(arguments)
    assert_same_run(finished_run, run)
    commands.succeed([*arguments, "--config.steps=7"])
    assert [record["step"] for record in read(run / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6, 7]


def test_adapters_have_no_reference_of_their_own(tiny_model):
    settings = ModelSettings(path=str(tiny_model), offload=("reference",), lora_rank=2)
    with pytest.raises(UsageError, match="config.model.offload=.*expected no 'reference'"):
        describe_by_config(settings, make_mesh(Mesh(data=1), jax.devices()[:1]))
