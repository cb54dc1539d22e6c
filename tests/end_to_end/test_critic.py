"""PPO as a user runs it: a critic of its own, interrupted and resumed; a critic on the policy's last layer."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from rl_reason.models.weights import count
from rl_reason.parallel.mesh import make_mesh
from rl_reason.recipes import planning
from rl_reason.recipes.critic import with_shared_critic
from rl_reason.recipes.setup import describe_by_config
from rl_reason.runtime.config import load
from tests.end_to_end.commands import ROOT, read
from tests.end_to_end.test_resume import assert_same_run, kill_after

UNJUDGED = ("--config.evaluation.every=0", "--config.evaluation.samples=0")
PPO = (
    "--preset=ppo",
    *UNJUDGED,
    "--config.critic.learning_rate=1e-3",
    "--config.critic.bootstrap=true",
    "--config.critic.pretrain_steps=2",
    "--config.algorithm.updates=2",
    "--config.steps=4",
)
SELECTED = ("--config.prompts.select=weights", "--config.prompts.unmeasured=0.5")


def exported(commands, run, folder):
    commands.succeed(["rl_reason.export", f"--workdir={run}", f"--output={folder}", "--dtype=float32"])
    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def whole(commands, tmp_path_factory):
    """The folder of a run with a critic of its own that nothing interrupted."""
    run = tmp_path_factory.mktemp("critic") / "whole"
    commands.succeed(commands.grpo(run, *PPO, *SELECTED))
    return run


def test_a_critic_of_its_own(whole):
    """The first steps are the critic's alone. By their pass rates half of the questions are drawn."""
    metrics = read(whole / "metrics.jsonl")
    assert [("loss" in record, "critic/loss" in record) for record in metrics] == 2 * [(False, True)] + 2 * [
        (True, True)
    ]
    # A critic that has not learned anything says 0 everywhere, and then no more.
    assert metrics[0]["critic/value"] == 0 and metrics[0]["critic/explained_variance"] == pytest.approx(0, abs=1e-6)
    assert metrics[-1]["critic/value"] != 0 and metrics[-1]["kl/reference"] != 0
    assert [record["prompts/measured"] for record in metrics] == [2, 3, 4, 5]
    assert [record["prompts/unmeasured"] for record in metrics] == [1, 0.5, 0.5, 0.5]


@pytest.mark.slow
def test_a_critic_of_its_own_is_resumed(commands, whole, tmp_path):
    """Its weights and optimizer with the policy's, and the questions' pass rates."""
    run = tmp_path / "run"
    kill_after(commands, commands.grpo(run, *PPO, *SELECTED), run / "metrics.jsonl", 3)
    # The newest checkpoint is that of step 2.
    start, policy = load_file(commands.model / "model.safetensors"), exported(commands, run, tmp_path / "begun")
    assert start.keys() == policy.keys()
    for name, tensor in start.items():
        np.testing.assert_array_equal(policy[name], tensor)
    commands.succeed(commands.grpo(run, *PPO, *SELECTED))
    assert_same_run(whole, run)


def test_a_shared_critic(commands, tmp_path):
    """It is trained and saved with the policy; what is exported is a language model as any other."""
    run = tmp_path / "run"
    flags = ("--preset=ppo", "--config.critic.kind=shared", "--config.critic.coef=0.5", "--config.steps=2")
    commands.succeed(commands.grpo(run, *flags, *UNJUDGED))
    metrics = read(run / "metrics.jsonl")
    assert metrics[0]["critic/value"] == 0 != metrics[-1]["critic/value"]
    assert "critic/grad_norm" not in metrics[0] and metrics[0]["critic/loss"] > 0
    start, made = load_file(commands.model / "model.safetensors"), exported(commands, run, tmp_path / "model")
    assert {name: x.shape for name, x in made.items()} == {name: x.shape for name, x in start.items()}
    assert any((made[name] != tensor).any() for name, tensor in start.items())


@pytest.mark.parametrize("kind", ["separate", "shared"])
def test_plan(kind):
    """A critic of its own takes as much as the policy does; a layer takes itself."""
    small = ("--config.algorithm.batch_size=8", "--config.algorithm.group_size=4", "--config.sampling.max_length=8")
    flags = ("--preset=ppo", f"--config.critic.kind={kind}", f"--config.model.path={ROOT}/checkpoints/tiny", *small)
    settings = load([f"--config={ROOT}/configs/grpo_math.py:tiny", *flags]).settings
    model = describe_by_config(settings.model, make_mesh(settings.mesh, jax.devices()[:1]))
    size, width = 4 * count(model.config), 4 * model.config.hidden_size
    state, calls = planning.PLANS["policy_gradient"](settings, with_shared_critic(model, settings))
    made, read = planning.state_bytes(state), {one.name: planning.device_bytes(one.arguments[0]) for one in calls}
    times = {one.name: one.calls for one in calls}
    assert times["values"] == 1 and times["gradients"] == times["update"] == 4  # four passes
    if kind == "separate":
        assert model.config.tie_embeddings  # else a critic has no last layer
        assert made["parameters"] == size and read["values"] == size + width
        assert 3 * (size + width) < made["critic"] < 3 * (size + width) + 64  # two moments, and counters
        assert read["critic_gradients"] == read["critic_update"] == made["critic"]
        assert times["critic_gradients"] == times["critic_update"] == 4
        assert read["update"] == made["parameters"] + made["optimizer"]
    else:
        assert made["parameters"] == size + width == read["values"] and made["critic"] == 0
        assert not {name for name in times if name.startswith("critic")}
