"""A run that trains adapters: what it leaves behind, resumed, exported both ways; what it refuses."""

from __future__ import annotations

import json
import shutil

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from rl_reason import settings, train
from rl_reason.models.weights import cast
from rl_reason.parallel.mesh import make_mesh
from rl_reason.recipes.optimizer import make_optimizer
from rl_reason.recipes.setup import describe_model
from rl_reason.recipes.state import abstract_state, restore_or_start
from tests.end_to_end.commands import SMALL, contents, read
from tests.end_to_end.test_resume import assert_same_run

LORA = ("--config.model.lora_rank=4", "--config.model.lora_alpha=8", "--config.model.lora_targets=('q_proj','up_proj')")


@pytest.fixture(scope="module")
def run(commands, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("adapters") / "run"
    done = commands.succeed(commands.grpo(workdir, *LORA))
    assert "adapters of rank 4" in done.stdout
    return workdir


def test_the_base_is_the_reference(run):
    metrics = read(run / "metrics.jsonl")
    # Fresh adapters do nothing: the first step's KL to what lies beneath them is that of a model to itself.
    assert metrics[0]["kl/reference"] == pytest.approx(0, abs=1e-9)
    assert metrics[-1]["kl/reference"] > 1e-7
    assert metrics[-1]["logprob_difference/max"] < 1e-4


def test_checkpoints_hold_adapters_only(run):
    described = (run / "checkpoints" / "6" / "state" / "_METADATA").read_text()
    assert "query_lora_a" in described and "up_lora_b" in described
    assert "embed" not in described and "reference" not in described


@pytest.mark.slow
def test_resume(commands, run, tmp_path):
    again = tmp_path / "run"
    commands.succeed(commands.grpo(again, *LORA, "--config.steps=2"))
    commands.succeed(commands.grpo(again, *LORA))
    # The shorter run has evaluated after its last step.
    lines = (again / "eval.jsonl").read_text().splitlines(keepends=True)
    (again / "eval.jsonl").write_text("".join(line for line in lines if json.loads(line)["step"] != 2))
    assert_same_run(run, again)


def test_exports(commands, run, tmp_path):
    for flags in (["--dtype=float32"], ["--adapters"]):
        folder = tmp_path / flags[0]
        commands.succeed(["rl_reason.export", f"--workdir={run}", f"--output={folder}", *flags])
    merged = load_file(tmp_path / "--dtype=float32" / "model.safetensors")
    base = load_file(commands.model / "model.safetensors")
    adapters = load_file(tmp_path / "--adapters" / "adapter_model.safetensors")
    assert merged.keys() == base.keys() and len(adapters) == 8
    changed = {name for name in merged if not np.array_equal(merged[name], base[name])}
    assert changed == {
        f"model.layers.{i}.{module}.weight" for i in (0, 1) for module in ("self_attn.q_proj", "mlp.up_proj")
    }
    for name in changed:
        module = f"base_model.model.{name.removesuffix('.weight')}"
        a, b = adapters[f"{module}.lora_A.weight"], adapters[f"{module}.lora_B.weight"]
        np.testing.assert_allclose(merged[name], base[name] + 8 / 4 * b @ a, atol=1e-6)

    # A run may start where these adapters stand: its policy is no longer the reference.
    on = tmp_path / "on"
    path = f"--config.model.lora_path={tmp_path / '--adapters'}"
    commands.succeed(commands.grpo(on, path, "--config.steps=1", "--config.evaluation.every=0"))
    first, last = read(on / "metrics.jsonl")[0], read(run / "metrics.jsonl")[-1]
    assert first["kl/reference"] > 0.5 * last["kl/reference"]


@pytest.mark.parametrize("from_files", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_what_is_frozen_is_read_in_the_compute_dtype(from_files, tiny_model, tmp_path):
    """It is what the masters would be cast to, which are not there."""
    shape = {"model_type": "qwen2", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
             "num_attention_heads": 2, "num_key_value_heads": 1}  # fmt: skip
    source = {"path": str(tiny_model)} if from_files else {"path": "", "shape": shape, "tokenizer_size": 400}
    asked = settings.Model(**source, dtype="bfloat16", lora_rank=2, lora_targets=("q_proj",))
    model = describe_model(asked, make_mesh(settings.Mesh(data=1, fsdp=-1)), lambda: ["a text"])
    optimizer = make_optimizer(settings.Algorithm(), 1)
    abstract = abstract_state(model, optimizer, False)
    _, state, _ = restore_or_start(abstract, model, optimizer, tmp_path / "checkpoints", seed=3)
    expected = cast(model.load_params(3), model.dtype)
    for one, other in zip(*map(jax.tree.leaves, (state["train"].frozen, expected)), strict=True):
        assert one.dtype == jax.numpy.bfloat16 and one.sharding == other.sharding
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state["train"].params)} == {"float32"}


@pytest.mark.slow
def test_weights_beneath_the_adapters_that_have_changed(commands, tmp_path):
    """By another training, say: shapes are the same. Such a run is neither resumed nor exported."""
    base, run = tmp_path / "base", tmp_path / "run"
    shutil.copytree(commands.model, base)
    arguments = commands.grpo(run, *LORA, f"--config.model.path={base}", "--config.steps=2")
    commands.succeed(arguments)
    tensors = load_file(base / "model.safetensors")
    # Other files with the same tensors are the same weights.
    names = sorted(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: tensors[name] for name in part}, base / file)
    (base / "model.safetensors").unlink()
    export = [f"--workdir={run}", "--dtype=float32"]
    commands.succeed(["rl_reason.export", *export, f"--output={tmp_path / 'good'}"])

    changed = {name: tensors[name] for name in parts["b.safetensors"]}
    name = parts["b.safetensors"][-1]
    changed[name] = changed[name] * np.float32(1.001)
    save_file(changed, base / "b.safetensors")
    before = contents(tmp_path)
    for again in (arguments, ["rl_reason.export", *export, f"--output={tmp_path / 'bad'}"]):
        ended = commands.run(again)
        assert ended.returncode == 2 and ended.stderr.count("\n") == 1, ended.stderr
        assert f"error: config.model.path: {base} holds other weights" in ended.stderr and str(run) in ended.stderr
    assert contents(tmp_path) == before


def test_export_of_trained_weights_needs_no_others(commands, finished_run, tmp_path):
    """The folder that the run started from may be gone."""
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    said = (run / "config.json").read_text()
    assert str(commands.model) in said
    (run / "config.json").write_text(said.replace(str(commands.model), str(tmp_path / "gone")))
    for source, name in ((finished_run, "a"), (run, "b")):
        commands.succeed(["rl_reason.export", f"--workdir={source}", f"--output={tmp_path / name}"])
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.slow
def test_supervised(commands, tmp_path):
    run = tmp_path / "run"
    commands.succeed(commands.supervised(run, *LORA, "--config.algorithm.learning_rate=1e-2"))
    merged = load_file(run / "export" / "model.safetensors")
    base = load_file(commands.model / "model.safetensors")
    gate, up = ("model.layers.1.mlp.gate_proj.weight", "model.layers.1.mlp.up_proj.weight")
    # In bfloat16: what was not trained is the base, rounded.
    np.testing.assert_allclose(merged[gate].astype(np.float32), base[gate], rtol=1e-2)
    assert np.abs(merged[up].astype(np.float32) - base[up]).max() > 1e-3


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--config.model.lora_rank=-1"], "config.model.lora_rank=-1"),
        ([*LORA, "--config.model.lora_targets=('q_prj',)"], "'q_prj': no such layer; did you mean 'q_proj'?"),
        ([*LORA, "--config.model.lora_alpha=0"], "config.model.lora_alpha=0"),
        ([*LORA, "--config.algorithm.reference_every=3"], "config.algorithm.reference_every"),
        (["--config.model.lora_alpha=7"], "config.model.lora_alpha"),
        (["--config.model.lora_path=/nowhere", "--config.model.lora_rank=3"], "config.model.lora_rank"),
        (["--config.model.lora_path=/nowhere"], "config.model.lora_path='/nowhere'"),
    ],
)
def test_refusals(refusal, commands, tmp_path, flags, words):
    config = ["--config=configs/grpo_math.py:tiny", f"--config.model.path={commands.model}", *SMALL]
    assert words in refusal(train.main, [*config, f"--workdir={tmp_path / 'run'}", *flags])


def test_export_of_adapters_that_are_not_there(commands, finished_run, tmp_path):
    ended = commands.run(["rl_reason.export", f"--workdir={finished_run}", f"--output={tmp_path / 'o'}", "--adapters"])
    assert ended.returncode == 2 and "--adapters" in ended.stderr and not (tmp_path / "o").exists()
