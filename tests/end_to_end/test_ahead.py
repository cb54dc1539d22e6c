"""Runs that sample one step ahead: by the policy before the update, and the same run after a SIGTERM and a kill."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.end_to_end.commands import read
from tests.end_to_end.test_faults import SLOW, recorded, start_until
from tests.end_to_end.test_resume import assert_same_run, kill_after

AHEAD = ("--config.sampling.ahead=1", "--config.algorithm.correction=token_truncate", "--config.log.samples=100")


def completions(run, step):
    return [(row["id"], row["sample"], row["completion"]) for row in read(run / "samples.jsonl") if row["step"] == step]


@pytest.mark.slow
def test_the_policy_before_the_update_samples(commands, tmp_path):
    """Of two runs of which one does not learn, the second step has the same samples, the third others."""
    ahead, still = tmp_path / "ahead", tmp_path / "still"
    few = ("--config.steps=3", "--config.evaluation.every=0", "--config.evaluation.samples=0")
    commands.succeed(commands.grpo(ahead, *AHEAD, *few))
    commands.succeed(commands.grpo(still, *AHEAD[2:], *few, "--config.algorithm.learning_rate=1e-30"))
    same = [completions(ahead, step) == completions(still, step) for step in (1, 2, 3)]
    assert same == [True, True, False] and len(completions(ahead, 2)) == 8
    metrics = read(ahead / "metrics.jsonl")
    assert [record["staleness/steps"] for record in metrics] == [0, 1, 1]
    assert metrics[0]["logprob_difference/max"] < 1e-4 < 0.01 < metrics[1]["staleness/difference/max"]
    assert not any("staleness/difference/max" in record for record in metrics[:1])
    assert not any("logprob_difference/max" in record for record in metrics[1:])
    # With one update the ratio is 1; the weight of what the older policy sampled is not.
    assert all(record["ratio/mean"] == 1 for record in metrics) and metrics[1]["ratio/correction"] != 1


@pytest.mark.slow
def test_stopped_and_killed(commands, tmp_path):
    """While a step is graded, the one before is there to be saved, with what was sampled ahead."""
    whole, run, stuck = tmp_path / "whole", tmp_path / "run", tmp_path / "file"
    flags = (*AHEAD, "--config.reward.timeout=100", "--config.algorithm.minibatches=2")
    commands.succeed(commands.grpo(whole, *flags))

    arguments = commands.grpo(run, *flags, "--config.checkpoint.every=100")
    process = start_until(commands, arguments, recorded(run, 2), STUCK=str(stuck), **SLOW)
    stuck.write_text("")
    deadline = time.monotonic() + 60
    while not stuck.with_suffix(".met").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(2)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    (step,) = (int(name) for name in os.listdir(run / "checkpoints"))
    assert process.returncode == 143 and f"SIGTERM: saved behind step {step};" in errors and "Traceback" not in errors
    # The record of a step that cannot be graded is not written, that of the one before is.
    assert read(run / "metrics.jsonl")[-1]["step"] == step < 5

    kill_after(commands, commands.grpo(run, *flags), run / "metrics.jsonl", step + 1)
    commands.succeed(commands.grpo(run, *flags))
    assert_same_run(whole, run, rel=0, abs=0)
    assert [record["staleness/steps"] for record in read(run / "metrics.jsonl")] == [0, 1, 1, 1, 1, 1]
