"""A tiny model with random weights, one finished run, and the means to start more."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import jax
import pytest

from rl_reason.data.tokenization import train_tokenizer
from rl_reason.data.word_problems import make_problem
from rl_reason.errors import run_command
from rl_reason.models import huggingface, weights
from rl_reason.models.config import ModelConfig
from tests.end_to_end.commands import ROOT, Commands, contents

COMPILED = "/jax/core/compile/backend_compile_duration"


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """The folder of a model of 30 thousand random weights and 300 tokens."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tokenizer = train_tokenizer([make_problem("train", i, 0)["problem"] for i in range(50)], 300)
    config = ModelConfig(
        family="qwen2", vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_layers=2, num_heads=4,
        num_kv_heads=2, head_dim=8, qkv_bias=True, initializer_range=0.05, max_positions=2048,
    )  # fmt: skip
    params = jax.jit(lambda key: weights.initialize(config, key))(jax.random.key(0))
    huggingface.save_params(folder, config, params, "float32")
    tokenizer.save_pretrained(folder)
    # Random weights end a text at one token in 300. With thirty tokens that end it, lengths differ.
    stops = [tokenizer.eos_token_id, *range(40, 70)]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": stops}))
    return folder


@pytest.fixture(scope="session")
def commands(tiny_model, tmp_path_factory):
    return Commands(cache=tmp_path_factory.mktemp("compilations"), model=tiny_model)


@pytest.fixture(scope="session")
def finished_run(commands, tmp_path_factory):
    """The folder of a GRPO run of six steps that nothing interrupted. Do not change it."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    commands.succeed(commands.grpo(workdir))
    return workdir


@pytest.fixture
def refusal(tmp_path, monkeypatch, capfd):
    """`refusal(main, arguments)` is the line with which a command's `main` refuses its arguments, in this process.

    Checks the exit status, that it is the only line, that nothing was compiled, and that `tmp_path` is as it was.
    """
    monkeypatch.chdir(ROOT)
    compiled = []

    def listen(event: str, *_, **__) -> None:
        if event == COMPILED:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)

    def refuse(main: Callable[[], None], arguments: list[str]) -> str:
        before = contents(tmp_path)
        monkeypatch.setattr(sys, "argv", ["command", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_command(main)
        out, err = capfd.readouterr()
        assert ended.value.code == 2
        assert out == ""
        assert err.startswith("error: ") and err.endswith("\n") and err.count("\n") == 1, err
        assert compiled == []
        assert contents(tmp_path) == before
        return err

    yield refuse
    jax.monitoring.unregister_event_duration_listener(listen)
