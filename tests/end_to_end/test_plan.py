"""`rl_reason.plan`: a run's steps are compiled for devices that are not there, and what they take is counted."""

from __future__ import annotations

import functools
import importlib.util
import json
import math
import os
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from rl_reason import plan
from rl_reason.errors import UsageError
from rl_reason.models.families import read_config
from rl_reason.models.weights import count, table
from rl_reason.parallel import topologies
from rl_reason.parallel.mesh import AXES, make_mesh
from rl_reason.recipes import accumulation, planning
from rl_reason.recipes.setup import describe_by_config
from rl_reason.runtime.config import load
from tests.end_to_end.commands import ROOT, SMALL

MESH = {"data": 2, "fsdp": 2, "expert": 1, "tensor": 2}
SPLIT_OVER = {"embed": "fsdp", "heads": "tensor", "kv_heads": "tensor", "mlp": "tensor", "vocab": "tensor"}
PROMPT, LENGTH, ROWS, GROUP = 200, 12, 8, 4
"""As in `SMALL`."""
LIBTPU = importlib.util.find_spec("libtpu")
QWEN_7B = {
    "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064, "tie_word_embeddings": False,
    "max_position_embeddings": 4096, "rope_theta": 10000.0,
}  # fmt: skip
"""Qwen2.5-Math 7B."""


def flags(model, topology, output, *more):
    mesh = [f"--config.mesh.{axis}={size}" for axis, size in MESH.items()]
    return [
        "rl_reason.plan",
        "--config=configs/grpo_math.py:tiny",
        f"--config.model.path={model}",
        f"--topology={topology}",
        f"--json={output}",
        *SMALL,
        *mesh,
        *more,
    ]


@pytest.fixture(scope="module")
def bare_model(commands, tmp_path_factory):
    """A folder that holds no weights and no tokenizer."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "config.json").write_text((commands.model / "config.json").read_text())
    return folder


@pytest.fixture(scope="module")
def planned(commands, bare_model, tmp_path_factory):
    output = tmp_path_factory.mktemp("plan") / "plan.json"
    more = ("--config.sampling.batch_size=4", "--config.algorithm.updates=2", "--config.algorithm.micro_batch=4")
    done = commands.succeed(flags(bare_model, "cpu:8", output, *more))
    return json.loads(output.read_text()), done.stdout, read_config(bare_model)


def test_state_is_what_the_weight_table_says(planned):
    report, _, config = planned
    assert report["devices"] == 8 and report["mesh"] == dict.fromkeys(AXES, 1) | MESH and report["parameters"] > 0
    split = 0
    for weight in table(config).values():
        ways = [MESH[SPLIT_OVER[a]] for a, n in zip(weight.axes, weight.shape, strict=True) if a in SPLIT_OVER]
        assert all(n % 2 == 0 for n in weight.shape)
        split += 4 * weight.size // math.prod(ways)
    state = report["state"]
    assert state["parameters"] == split
    assert 2 * split < state["optimizer"] < 2 * split + 64  # two moments, and counters
    assert state["reference"] == split  # float32 on CPU
    assert state["frozen"] == 0


def test_functions_are_those_of_a_step(planned):
    report, out, config = planned
    made, state = report["functions"], report["state"]
    # Two calls sample, and there are two updates of a batch.
    assert {name: one["calls"] for name, one in made.items()} == {
        "move": 1, "prefill": 2, "decode": 2, "score_reference": 1, "score_old": 1, "gradients": 2, "update": 2
    }  # fmt: skip
    for name, one in made.items():
        own = one["arguments"] + one["outputs_beside"] + one["temporaries"] + one["code"]
        assert one["peak"] == own + one["resident"] > sum(state.values())
        assert one["fits"] is None and one["collectives"]
        assert name in out
    # Prefill reads the weights, decoding its own copy of them, an optimizer step all but the reference.
    close = functools.partial(pytest.approx, rel=0.01)
    moved = made["move"]["outputs_beside"]
    beside = made["prefill"]["resident"] - state["optimizer"] - state["reference"]
    assert 0.5 * moved < beside < moved  # of the weights for decoding it reads the last layer
    assert made["move"]["resident"] == close(state["optimizer"] + state["reference"])
    assert made["decode"]["resident"] == close(sum(state.values()))
    assert made["gradients"]["resident"] == close(state["optimizer"] + state["reference"])
    assert made["update"]["resident"] == close(state["reference"])
    assert made["update"]["within"]["gradients"] == state["parameters"]
    assert report["peak"]["sampling"] == max(made["prefill"]["peak"], made["decode"]["peak"])
    assert report["peak"]["update"] == max(made["gradients"]["peak"], made["update"]["peak"])
    # Two rows at a time lie on each of the four parts of the batch, one prompt on each device.
    heads, width = config.num_kv_heads // 2, config.head_dim
    cached = 2 * 4 * config.num_layers * heads * width * (PROMPT + LENGTH)
    assert made["decode"]["within"]["cache"] == cached
    assert any(row["where"] == "inside a loop" for row in made["gradients"]["collectives"])


def test_operations_are_those_of_the_model(planned):
    report, _, c = planned
    made, length = report["functions"], PROMPT + LENGTH
    per_token = 2 * sum(w.size for w in table(c).values() if w.inputs)
    head, pair = 2 * c.vocab_size * c.hidden_size, 4 * c.num_layers * c.num_heads * c.head_dim
    prompt = PROMPT * per_token + PROMPT**2 * pair
    # Decoding attends to the whole cache at each token.
    tokens = GROUP * (LENGTH - 1) * (per_token + length * pair + head)
    assert made["prefill"]["flops"] == prompt + GROUP * head and made["decode"]["flops"] == tokens
    # At least each prompt once for its group, at most once for each completion, with its last layer.
    least = ROWS // GROUP * prompt + ROWS * LENGTH * (per_token + head)
    most = ROWS * length * (per_token + length * pair + head)
    score = made["score_reference"]["flops"] * made["score_reference"]["calls"]
    assert least <= score <= most and made["score_old"]["flops"] == made["score_reference"]["flops"]
    # Twice more for the gradient, and the last layer's product once more, which is computed again.
    assert 3 <= made["gradients"]["flops"] / made["score_old"]["flops"] <= 4
    assert report["flops_step"] == sum(one["flops"] * one["calls"] for one in made.values())


def settings_of(config, *flags):
    return load([f"--config={ROOT}/{config}", *flags]).settings


def test_supervised_from_a_shape():
    small = ("--config.algorithm.batch_size=2", "--config.sampling.max_length=64", "--config.data.max_prompt_length=32")
    settings = settings_of("configs/sft_tiny.py", *small, "--config.mesh.data=2")
    report = planning.plan(settings, jax.devices()[:2], memory=1000)
    assert set(report["functions"]) == {"gradients", "update"} and report["devices"] == 2
    assert report["state"]["reference"] == 0 < report["state"]["parameters"]
    assert report["fits"] is report["functions"]["update"]["fits"] is False and report["peak"]["sampling"] is None


def test_what_is_planned_is_the_function_that_runs(monkeypatch):
    """A step that computes more is planned with more: here a product in the optimizer, where there is none."""
    small = ("--config.algorithm.batch_size=2", "--config.sampling.max_length=64", "--config.data.max_prompt_length=32")
    settings = settings_of("configs/sft_tiny.py", *small)
    before = planning.plan(settings, jax.devices()[:1], None)["functions"]
    whole = accumulation.apply_gradients

    def with_product(state, gradients, optimizer):
        state, norms = whole(state, gradients, optimizer)
        square = jnp.ones((50, 50)) * norms["optimizer/grad_norm"]
        return state, norms | {"product": jnp.sum(square @ square)}

    monkeypatch.setattr(accumulation, "apply_gradients", with_product)
    after = planning.plan(settings, jax.devices()[:1], None)["functions"]
    assert before["update"]["flops"] == 0 and after["update"]["flops"] == 2 * 50**3
    assert after["gradients"]["flops"] == before["gradients"]["flops"]


def test_state_with_adapters():
    small = ("--config.algorithm.batch_size=8", "--config.sampling.max_length=8", "--config.model.lora_rank=2")
    settings = settings_of("configs/grpo_math.py:tiny", f"--config.model.path={ROOT}/checkpoints/tiny", *small)
    model = describe_by_config(settings.model, make_mesh(settings.mesh, jax.devices()[:1]))
    state, calls = planning.PLANS["policy_gradient"](settings, model)
    made, read = planning.state_bytes(state), {one.name: planning.device_bytes(one.arguments[0]) for one in calls}
    assert made["frozen"] == 4 * count(model.config) > 10 * made["parameters"] and made["reference"] == 0
    assert read["score_reference"] == made["frozen"]  # what lies beneath adapters is the reference
    assert read["prefill"] == made["frozen"] + made["parameters"]
    assert read["update"] == sum(made.values())


@pytest.mark.parametrize(
    "topology, told",
    [
        ("gpu:8", ["no GPUs", "v5p", "cpu:N"]),
        ("h100:8", ["expected", "v5p", "cpu:N"]),
        ("v5p:2x2", ["three dimensions", "v5p:2x2x4"]),
        ("v5e:2x2x2", ["two dimensions", "v5e:4x4"]),
        ("v5e:0x4", ["expected"]),
        ("v5e", ["expected"]),
        ("cpu:0", ["expected"]),
        ("cpu:2x2", ["expected"]),
        ("cpu:9999", ["at most"]),
    ],
)
def test_topology_that_cannot_be(refusal, topology, told):
    line = refusal(plan.main, ["--config=configs/grpo_math.py:tiny", f"--topology={topology}"])
    assert f"--topology={topology!r}" in line
    for part in told:
        assert part in line


def test_flags(refusal, tmp_path, monkeypatch):
    monkeypatch.setattr(plan.topologies, "prepare", lambda topology: None)  # jax runs here already
    config = "--config=configs/grpo_math.py:tiny"
    assert "--topology" in refusal(plan.main, [config])
    assert "--workdir" in refusal(plan.main, [config, "--topology=cpu:2", f"--workdir={tmp_path}/run"])
    line = refusal(plan.main, [config, "--topology=cpu:2", f"--json={tmp_path}/none/plan.json"])
    assert "--json" in line and "folder" in line


@pytest.mark.parametrize(
    "flag, told",
    [
        ("--config.model.path=/no/such/folder", "config.model.path='/no/such/folder'"),
        ("--config.recipe=rl_reason.recipes.supervised:run", "config.recipe=.*pretraining or reward_model"),
        ("--config.data.max_prompt_length=5000", "max_position_embeddings"),
        ("--config.algorithm.group_size=3", "config.algorithm.group_size=3"),
        ("--config.model.attention=splash", "config.model.attention='splash'"),
    ],
)
def test_configuration_that_cannot_be(flag, told):
    settings = settings_of("configs/grpo_math.py:tiny", f"--config.model.path={ROOT}/checkpoints/tiny", flag)
    with pytest.raises(UsageError, match=told):
        planning.plan(settings, jax.devices(), memory=None)


def test_mesh_that_cannot_be(commands, bare_model, tmp_path):
    output = tmp_path / "plan.json"
    done = commands.run(flags(bare_model, "cpu:8", output, "--config.mesh.tensor=3"))
    assert done.returncode == 2 and done.stdout == "" and not output.exists()
    assert done.stderr.startswith("error: config.mesh=") and done.stderr.count("\n") == 1


@pytest.mark.skipif(LIBTPU is not None, reason="libtpu is installed")
def test_libtpu_is_missing():
    with pytest.raises(UsageError, match="v5e:2x2.*libtpu: pip install"):
        topologies.devices(topologies.parse("v5e:2x2"))


needs_libtpu = pytest.mark.skipif(LIBTPU is None, reason="libtpu is not installed; `make test-slow` installs it")


def path_with_libtpu():
    return os.pathsep.join([str(ROOT), str(Path(LIBTPU.origin).parents[1])])


@pytest.mark.slow
@needs_libtpu
@pytest.mark.parametrize("topology, memory", [("v5e:2x4", 15.75), ("v5p:2x2x2", 95.74), ("v4:2x2x2", 30.75)])
def test_tpu(commands, bare_model, tmp_path, topology, memory):
    output = tmp_path / "plan.json"
    commands.succeed(flags(bare_model, topology, output), PYTHONPATH=path_with_libtpu())
    report = json.loads(output.read_text())
    assert report["devices"] == 8 and report["dtype"] == "bfloat16" and report["attention"] == "splash"
    assert report["memory"] == round(memory * 2**30) and report["fits"] is True
    assert set(report["functions"]) == {"move", "prefill", "decode", "score_reference", "gradients", "update"}
    assert all(one["peak"] > 0 and one["xla"]["bytes"] > 0 for one in report["functions"].values())


@pytest.mark.slow
@needs_libtpu
@pytest.mark.parametrize(
    ("topology", "changes", "chips", "peaks"),
    [
        ("v5p:2x2x4", [], 16, {"sampling": 10.4, "update": 17.8}),
        ("v5e:8x8", ["--config.algorithm.micro_batch=64"], 64, {"sampling": 4.9, "update": 8.3}),
    ],
)
def test_7b_on_a_pod(commands, tmp_path, topology, changes, chips, peaks):
    """As docs/performance.md has it, in less memory than a laptop's and less than three minutes."""
    (tmp_path / "config.json").write_text(json.dumps(QWEN_7B))
    output = tmp_path / "plan.json"
    process = commands.start(
        [
            "rl_reason.plan",
            "--config=configs/grpo_math.py",
            f"--config.model.path={tmp_path}",
            f"--topology={topology}",
            f"--json={output}",
            *changes,
        ],
        PYTHONPATH=path_with_libtpu(),
        optimized=True,
    )
    _, status, used = os.wait4(process.pid, 0)  # it prints less than a pipe holds
    process.returncode = os.waitstatus_to_exitcode(status)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    # KiB; seconds of two processors, were they free.
    assert used.ru_maxrss < 4 * 2**20 and (used.ru_utime + used.ru_stime) / 2 < 180
    report = json.loads(output.read_text())
    assert report["parameters"] == 7_615_616_512 and report["devices"] == chips and report["fits"] is True
    # Float32 weights, two moments of each, a bfloat16 reference, over all chips; what does not divide lies on each.
    state, shared = report["state"], report["parameters"] / chips
    close = functools.partial(pytest.approx, rel=5e-3)
    assert (state["parameters"], state["optimizer"], state["reference"]) == close((4 * shared, 8 * shared, 2 * shared))
    assert {name: peak / 2**30 for name, peak in report["peak"].items()} == pytest.approx(peaks, rel=0.05)


@pytest.mark.slow
def test_the_greatest_micro_batch_that_fits():
    """Told by compiling: what is found fits, and the next one that was tried does not."""
    small = ("--config.algorithm.batch_size=12", "--config.sampling.max_length=64", "--config.model.tokenizer_size=300")
    settings = settings_of("configs/sft_tiny.py", *small, "--config.data.max_prompt_length=32")
    devices = jax.devices()[:1]
    none, tried = planning.find_micro_batch(settings, devices, 1000)
    assert none == 0 and set(tried) == {1, 2, 4}  # of 1, 2, 3, 4, 6 and 12
    assert tried[1] < tried[2] < tried[4]
    limit = (tried[2] + tried[4]) // 2
    found, tried = planning.find_micro_batch(settings, devices, limit)
    assert found in (2, 3) and tried[found] <= limit < tried[found + 1 if found == 3 else min(set(tried) - {2})]


@pytest.mark.parametrize(
    "flag, told",
    [("--find_batch", "--find_batch: cpu:8 has no memory of its own"), ("--memory=-1", "--memory=-1.0: expected GiB")],
)
def test_a_search_needs_a_limit(commands, flag, told):
    done = commands.run(["rl_reason.plan", "--config=configs/sft_tiny.py", "--topology=cpu:8", flag])
    assert done.returncode == 2 and done.stderr.startswith(f"error: {told}") and done.stderr.count("\n") == 1


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="Linux alone tells the peak of a call")
@pytest.mark.slow
def test_the_planned_peak_is_the_measured_one(commands):
    # With all of XLA's passes, as a user's run has them.
    done = commands.succeed(["tests.end_to_end.peak_of_an_update", "none"], 4, optimized=True)
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["measured"] > 5e8
    assert seen["planned"] == pytest.approx(seen["measured"], rel=0.1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is told to give back what is freed")
def test_the_planned_peak_is_that_of_whole_runs(commands, tmp_path):
    """With and without a critic, as the memory study measures them."""
    study = ["experiments.ppo_vs_grpo_memory.run", f"--output={tmp_path}", "--measure"]
    process = commands.start(study, optimized=True)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    made = json.loads((tmp_path / "measured.json").read_text())
    assert len(made) == 3
    for method, seen in made.items():
        assert seen["measured"] > 5e8
        assert seen["planned"] == pytest.approx(seen["measured"], rel=0.1), method
