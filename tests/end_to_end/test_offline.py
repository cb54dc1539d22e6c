"""Recipes that learn from what was sampled before training, or written by others: what they leave; going on."""

from __future__ import annotations

import json
import math
import shutil

import pytest

from rl_reason.data.selection import fingerprint
from tests.end_to_end.commands import COLLECTED, contents, read
from tests.end_to_end.test_resume import assert_same_run, kill_after


@pytest.fixture(scope="module")
def rejection_run(commands, tmp_path_factory):
    run = tmp_path_factory.mktemp("rft") / "run"
    commands.succeed(commands.offline("rft", run, *COLLECTED))
    return run


def test_rejection_sampling(rejection_run):
    collected = read(rejection_run / "collected.jsonl")
    assert len(collected) == 24 * 4 and [record["sample"] for record in collected] == [0, 1, 2, 3] * 24
    assert len({record["id"] for record in collected}) == 24
    # Each sample has random numbers of its own.
    assert len({(record["id"], record["completion"]) for record in collected}) > 90
    right = [record for record in collected if record["reward"] >= 0.4 and record["finish"] == "stop"]
    selected = read(rejection_run / "selected.jsonl")
    assert 0 < len(right) < len(collected)
    assert all(record in right for record in selected)
    assert {(r["id"], fingerprint(r["completion"])) for r in selected} == {
        (r["id"], fingerprint(r["completion"])) for r in right
    }
    metrics = read(rejection_run / "metrics.jsonl")
    assert [record["step"] for record in metrics] == [1, 2, 3, 4, 5, 6]
    assert metrics[-1]["loss"] < metrics[0]["loss"] and metrics[-1]["epoch"] > metrics[0]["epoch"] > 0
    # Of what is learned, and of nothing else, every token counts.
    assert metrics[0]["tokens/update"] <= metrics[0]["epoch"] * sum(len(r["tokens"]) for r in selected) + 4 * 12
    assert (rejection_run / "export" / "model.safetensors").is_file()


def test_rejection_sampling_goes_on(commands, rejection_run, tmp_path):
    """A kill has left a whole batch, a part of another, and a torn line."""
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(rejection_run / "config.json", run)
    lines = (rejection_run / "collected.jsonl").read_bytes().splitlines(keepends=True)
    (run / "collected.jsonl").write_bytes(b"".join(lines[:21]) + lines[21][:30])
    done = commands.succeed(commands.offline("rft", run, *COLLECTED))
    assert "4/24" not in done.stderr.split("collect", 1)[0]
    assert contents(run)["collected.jsonl"] == b"".join(lines)
    assert contents(run)["selected.jsonl"] == contents(rejection_run)["selected.jsonl"]
    assert_same_run(rejection_run, run)
    assert contents(run / "export") == contents(rejection_run / "export")


def test_nothing_is_right(commands, tmp_path):
    flags = (*COLLECTED, "--config.collect.threshold=1.5", "--config.data.problems=4")
    done = commands.run(commands.offline("rft", tmp_path / "run", *flags))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: ") and "none of 16 completions" in line and "threshold=1.5" in line


def test_preferences_of_samples(commands, tmp_path):
    run = tmp_path / "run"
    failing = ("--config.reward.names=('user_rewards:letters_or_none',)",)
    done = commands.succeed(commands.offline("dpo", run, *COLLECTED, "--config.preference.most=2", *failing))
    assert "reward 'user_rewards:letters_or_none': error on a completion of word_problems/" in done.stderr
    rewards = {(r["id"], r["sample"]): r for r in read(run / "collected.jsonl")}
    pairs = read(run / "pairs.jsonl")
    assert len(pairs) >= 4
    for pair in pairs:
        chosen, rejected = (rewards[pair["id"], sample] for sample in pair["samples"])
        assert chosen["reward"] >= 0.4 > rejected["reward"] and chosen["finish"] == "stop"
        assert (chosen["completion"], rejected["completion"]) == (pair["chosen"], pair["rejected"])
        assert 1 <= sum(other["id"] == pair["id"] for other in pairs) <= 2
        assert "failure" not in chosen and "failure" not in rejected
    assert any("failure" in record for record in rewards.values())
    metrics = read(run / "metrics.jsonl")
    # Before the first update the policy is its reference.
    assert metrics[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert metrics[0]["preference/margin"] == pytest.approx(0, abs=1e-4)
    assert metrics[-1]["loss"] < math.log(2) - 0.01 and metrics[-1]["preference/margin"] > 0.01
    assert metrics[-1]["preference/accuracy"] > 0.5


@pytest.mark.slow
def test_preferences_of_a_file(commands, tmp_path):
    """A run that was killed is the run that nobody stopped."""
    file = tmp_path / "pairs.jsonl"
    rows = [{"problem": f"{i}+1?", "chosen": f"is {i + 1}", "rejected": f"{i}"} for i in range(7)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = (f"--config.preference.pairs={file}", "--config.collect.samples=64")
    whole, run = tmp_path / "whole", tmp_path / "run"
    commands.succeed(commands.offline("dpo", whole, *flags))
    kill_after(commands, commands.offline("dpo", run, *flags), run / "metrics.jsonl", 3)
    assert not (run / "export").exists()
    commands.succeed(commands.offline("dpo", run, *flags))
    assert_same_run(whole, run)
    assert contents(run / "export") == contents(whole / "export")
