"""Each arm is written down as a command that runs it by itself."""

import shlex
import sys

import pytest

from experiments import pipelines, sweep
from experiments.catalogue import ROOT
from experiments.commands import FILE, call, note, text
from rl_reason.errors import RunError
from rl_reason.runtime.config import load


def test_a_command_is_written_once_and_reads_as_it_was(tmp_path):
    made = tmp_path / "runs" / "seed0"
    command = ["json.tool", "--help"]
    call(command, made, tmp_path / "log")
    call(command, made, tmp_path / "log")
    odd = ["a", "--b=('x', 'y')", "--c=$HOME 'x'", '--d="', "--e=*"]
    note(made.parent, [odd])
    first, second = (made.parent / FILE).read_text().splitlines()
    assert shlex.split(first) == ["python", "-m", *command] and shlex.split(second) == ["python", "-m", *odd]
    assert "usage" in (tmp_path / "log").read_text() and text(["--b=('x', 'y')"]) == "\"--b=('x', 'y')\""


def test_a_failure_names_the_log_and_stands_there_too(tmp_path):
    with pytest.raises(RunError, match=rf"seed0 failed; {tmp_path}/log says why"):
        call(["json.tool", "--none"], tmp_path / "seed0", tmp_path / "log")
    assert (tmp_path / FILE).read_text() == "python -m json.tool --none\n"


def test_a_sweep_writes_each_run_also_those_computed_together(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    asked = ["--config=configs/grpo_math.py:tiny", "--grid=config.algorithm.kl_coef=0.02,0.04", "--config.steps=3"]
    made = sweep.parse([*asked, "--seeds=2", "--together=4", f"--output={tmp_path}"])
    monkeypatch.setattr(sweep, "train_together", lambda group: None)
    sweep.run(made)
    lines = [shlex.split(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert len(lines) == 4
    for words, (point, seed, folder) in zip(lines, made.runs(), strict=True):
        assert words[:3] == ["python", "-m", "rl_reason.train"] and words[-1] == f"--workdir={folder}"
        settings = load(words[3:-1], reads=sweep.reads).settings
        assert settings == sweep.settings_of(made, point, seed) and settings.seed == seed and settings.steps == 3


def test_a_pipeline_writes_its_training(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "true")
    pipelines.train("configs/r1_math.py:tiny", 4, tmp_path / "seed4", ["--config.steps=3"])
    written = (tmp_path / FILE).read_text()
    assert written == (
        f"python -m rl_reason.train --config=configs/r1_math.py:tiny --config.seed=4 --config.steps=3 "
        f"--workdir={tmp_path}/seed4\n"
    )
