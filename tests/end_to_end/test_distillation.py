"""Distillation as a command: what it leaves behind; going on."""

from __future__ import annotations

import json
import shutil

import jax
import pytest
from safetensors.numpy import load_file, save_file

from rl_reason.models import huggingface, weights
from rl_reason.models.families import from_shape
from tests.end_to_end.commands import contents, read
from tests.end_to_end.test_resume import assert_same_run, kill_after


@pytest.fixture(scope="module")
def teacher(tiny_model, tmp_path_factory):
    """Of another family and width than its student, with the same tokens and more rows."""
    folder = tmp_path_factory.mktemp("teacher") / "model"
    shutil.copytree(tiny_model, folder)
    shape = {
        "model_type": "llama", "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 1,
        "num_attention_heads": 4, "num_key_value_heads": 4, "initializer_range": 0.3,
        "max_position_embeddings": 2048, "tie_word_embeddings": False,
    }  # fmt: skip
    config = from_shape(shape, 420)
    params = jax.jit(lambda key: weights.initialize(config, key))(jax.random.key(1))
    huggingface.save_params(folder, config, params, "float32")
    return folder


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    """Of a run on completions of its own and of a file."""
    file = tmp_path_factory.mktemp("written") / "completions.jsonl"
    rows = [
        {"problem": f"{i}+1?", "completion": f"is {i + 1}", "finish": "length" if i % 3 else "stop"} for i in range(9)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    wanted = {"on_policy": 0.5, "completions": file, "top_k": 6, "divergence": "forward_kl"}
    return [f"--config.distillation.{key}={value}" for key, value in wanted.items()]


@pytest.fixture(scope="module")
def whole(commands, teacher, flags, tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    run = tmp_path_factory.mktemp("distillation") / "whole"
    commands.succeed(commands.distillation(run, teacher, *flags))
    return run


def test_own_and_written_completions(whole):
    metrics = read(whole / "metrics.jsonl")
    own = [record["distillation/on_policy"] == 1 for record in metrics]
    assert [record["step"] for record in metrics] == [1, 2, 3, 4, 5, 6] and 1 < sum(own) < 5
    for record, is_own in zip(metrics, own, strict=True):
        assert ("pass@1/train" in record) == ("reward/mean" in record) == is_own
        assert record["distillation/divergence"] > 0 and 0 <= record["distillation/agreement"] <= 1
    written = [record["distillation/divergence"] for record, is_own in zip(metrics, own, strict=True) if not is_own]
    assert written[-1] < 0.95 * written[0]
    samples = read(whole / "samples.jsonl")
    assert {record["step"] for record in samples} == {i + 1 for i, is_own in enumerate(own) if is_own}
    assert all("reward" in record and "advantage" not in record for record in samples)


@pytest.mark.slow
def test_a_run_that_was_killed_is_the_run_that_nobody_stopped(commands, teacher, flags, whole, tmp_path):
    run = tmp_path / "run"
    kill_after(commands, commands.distillation(run, teacher, *flags), run / "metrics.jsonl", 3)
    assert not (run / "export").exists()
    # The teacher stands in no checkpoint: another one in its place is told, and nothing is written.
    right, before = load_file(teacher / "model.safetensors"), contents(run)
    save_file(right | {"model.norm.weight": 1.01 * right["model.norm.weight"]}, teacher / "model.safetensors")
    ended = commands.run(commands.distillation(run, teacher, *flags))
    assert ended.returncode == 2 and ended.stderr.startswith(f"error: config.distillation.teacher: {teacher} holds")
    assert ended.stderr.count("\n") == 1 and contents(run) == before
    save_file(right, teacher / "model.safetensors")
    commands.succeed(commands.distillation(run, teacher, *flags))
    assert_same_run(whole, run)
    assert contents(run / "export") == contents(whole / "export")
    assert json.loads((run / "export" / "config.json").read_text())["model_type"] == "qwen2"
