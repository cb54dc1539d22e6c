"""A run that was killed and started again is the run that nobody stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest

from tests.end_to_end.commands import contents, read


def kill_after(commands, arguments, metrics, step):
    """Starts a run, slowed down so that it can be caught, and kills it soon after the record of `step` appears."""
    process = commands.start(arguments, SECONDS_PER_REWARD="0.15")
    try:
        deadline = time.monotonic() + 240
        while f'"step": {step},' not in (metrics.read_text() if metrics.exists() else ""):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:  # pragma: no cover - a worker that outlives its parent would hold the pipe
            pytest.fail("a worker process outlived the command by 30 s")
    assert process.returncode == -signal.SIGKILL


def without_times(record):
    of_machine = ("time/", "memory/", "tokens/s", "compilations")
    return {name: value for name, value in record.items() if not name.startswith(of_machine)}


RECORDS = ("metrics.jsonl", "eval.jsonl", "samples.jsonl")


def assert_same_run(one, other, rel=1e-6, abs=1e-9, names=RECORDS):
    for name in names:
        if not (one / name).exists():
            assert not (other / name).exists()
            continue
        expected, got = ([without_times(record) for record in read(run / name)] for run in (one, other))
        assert [record["step"] for record in got] == [record["step"] for record in expected], name
        for a, b in zip(expected, got, strict=True):
            assert a.keys() == b.keys()
            for key, value in a.items():
                same = pytest.approx(value, rel, abs) if isinstance(value, float) else value
                assert b[key] == same, (name, a["step"], key)


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(3, id="behind a checkpoint"),
        pytest.param(1, id="before the first checkpoint", marks=pytest.mark.slow),
    ],
)
def test_policy_gradient(commands, finished_run, tmp_path, step):
    run = tmp_path / "run"
    kill_after(commands, commands.grpo(run), run / "metrics.jsonl", step)
    written = [record["step"] for record in read(run / "metrics.jsonl") if record]
    assert step <= written[-1] < 6
    commands.succeed(commands.grpo(run))
    assert [record["step"] for record in read(run / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]
    assert_same_run(finished_run, run)
    if step == 3:
        _again_and_further(commands, run)


def _again_and_further(commands, run):
    """The same command once more changes no record; with more steps it goes on."""
    records = {name: content for name, content in contents(run).items() if name.endswith(".jsonl")}
    commands.succeed(commands.grpo(run))
    assert {name: content for name, content in contents(run).items() if name.endswith(".jsonl")} == records

    commands.succeed(commands.grpo(run, "--config.steps=8"))
    assert json.loads((run / "config.json").read_text())["steps"] == 8
    metrics = read(run / "metrics.jsonl")
    assert [record["step"] for record in metrics] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert (run / "metrics.jsonl").read_bytes().startswith(records["metrics.jsonl"])
    assert [record["step"] for record in read(run / "eval.jsonl")] == [0, 3, 6, 8]
    # It went on and did not start over: the policy is further from its reference than it can be after one step.
    assert metrics[6]["kl/reference"] > metrics[1]["kl/reference"] > metrics[0]["kl/reference"]


@pytest.mark.slow
def test_supervised(commands, tmp_path):
    whole, run = tmp_path / "whole", tmp_path / "run"
    commands.succeed(commands.supervised(whole))
    # The evaluation after step 3 is where it is caught.
    kill_after(commands, commands.supervised(run), run / "metrics.jsonl", 3)
    assert [record["step"] for record in read(run / "metrics.jsonl")][-1] < 6
    assert not (run / "export").exists()
    commands.succeed(commands.supervised(run))
    assert_same_run(whole, run)
    assert contents(run / "export") == contents(whole / "export")
