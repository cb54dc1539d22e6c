"""A run that trains adapters: what it leaves behind, resumed, exported both ways; what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.end_to_end.commands import read
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
def test_refusals(commands, tmp_path, flags, words):
    ended = commands.run([*commands.grpo(tmp_path / "run"), *flags])
    assert ended.returncode == 2 and words in ended.stderr and ended.stderr.count("\n") == 1, ended.stderr
    assert not (tmp_path / "run").exists()


def test_export_of_adapters_that_are_not_there(commands, finished_run, tmp_path):
    ended = commands.run(["rl_reason.export", f"--workdir={finished_run}", f"--output={tmp_path / 'o'}", "--adapters"])
    assert ended.returncode == 2 and "--adapters" in ended.stderr and not (tmp_path / "o").exists()
