"""A tiny model with random weights, one finished run, and the means to start more."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable

import jax
import pytest
from filelock import FileLock

from rl_reason import evaluate
from rl_reason.data.tokenization import train_tokenizer
from rl_reason.data.word_problems import make_problem
from rl_reason.errors import run_command
from rl_reason.models import huggingface, weights
from rl_reason.models.families import from_shape
from rl_reason.parallel.mesh import make_mesh
from rl_reason.recipes import setup
from tests.end_to_end.commands import HERE, ROOT, Commands, contents

COMPILED = "/jax/core/compile/backend_compile_duration"


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A folder that all pytest-xdist workers share, so that what is expensive is made once."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "end_to_end"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def tiny_model(shared):
    """The folder of a model of 30 thousand random weights and 400 tokens."""
    folder = shared / "model"
    with FileLock(shared / "model.lock"):
        if not folder.exists():
            _make_model(folder)
    return folder


def _make_model(folder):
    tokenizer = train_tokenizer([make_problem("train", i, 0)["problem"] for i in range(50)], 400)
    shape = {
        "model_type": "qwen2", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.05,
        "max_position_embeddings": 2048, "tie_word_embeddings": True,
    }  # fmt: skip
    config = from_shape(shape, len(tokenizer))
    params = jax.jit(lambda key: weights.initialize(config, key))(jax.random.key(0))
    huggingface.save_params(folder, config, params, "float32")
    tokenizer.save_pretrained(folder)
    # Random weights end a text at one token in 400. With thirty tokens that end it, lengths differ.
    stops = [tokenizer.eos_token_id, *range(40, 70)]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": stops}))


@pytest.fixture(scope="session")
def commands(tiny_model, shared):
    return Commands(cache=shared / "compilations", model=tiny_model)


@pytest.fixture(scope="session")
def finished_run(commands, shared):
    """The folder of a GRPO run of six steps that nothing interrupted. Do not change it."""
    workdir = shared / "finished"
    with FileLock(shared / "finished.lock"):
        # report.html is what a run writes last.
        if not (workdir / "report.html").exists():
            commands.succeed(commands.grpo(workdir))
    return workdir


@pytest.fixture
def evaluate_here(monkeypatch, capsys):
    """`evaluate_here(flags)` runs `rl_reason.evaluate` in this process, on one device as `commands` do, and gives what
    it printed."""
    before = jax.config.values["jax_disable_most_optimizations"]
    # Models that are as small as these run for milliseconds and compile for seconds.
    jax.config.update("jax_disable_most_optimizations", True)
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.setattr(setup, "make_mesh", functools.partial(make_mesh, devices=jax.devices()[:1]))

    def run(flags: list[str]) -> str:
        monkeypatch.setattr(sys, "argv", ["evaluate", *flags])
        capsys.readouterr()
        evaluate.main()
        return capsys.readouterr().out

    yield run
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture
def refusal(tmp_path, monkeypatch, capfd):
    """`refusal(main, arguments)` is the line with which a command's `main` refuses its arguments, in this process.

    Checks the exit status, that it is the only line, that nothing was compiled (or at most so many `compilations`), and
    that `tmp_path` is as it was.
    """
    monkeypatch.chdir(ROOT)
    compiled = []

    def listen(event: str, *_, **__) -> None:
        if event == COMPILED:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)

    def refuse(main: Callable[[], None], arguments: list[str], compilations: int = 0) -> str:
        before = contents(tmp_path)
        compiled.clear()
        monkeypatch.setattr(sys, "argv", ["command", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_command(main)
        out, err = capfd.readouterr()
        assert ended.value.code == 2
        assert out == ""
        # Of what takes longer than a second a bar is shown, which on a busy machine is anything.
        err = "".join(line for line in err.splitlines(True) if not line.startswith("check answers of "))
        assert err.startswith("error: ") and err.endswith("\n") and err.count("\n") == 1, err
        assert len(compiled) <= compilations
        assert contents(tmp_path) == before
        return err

    yield refuse
    jax.monitoring.unregister_event_duration_listener(listen)
