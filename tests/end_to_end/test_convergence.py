"""The shipped model learns: a short GRPO run raises its reward. Fails if the sign of the advantage is flipped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]


def test_grpo_raises_the_reward_and_the_length(tmp_path):
    command = [sys.executable, "-m", "rl_reason.train", "--config=configs/grpo_math.py:tiny"]
    command += [f"--workdir={tmp_path}/run", "--config.steps=12", "--config.algorithm.batch_size=64"]
    command += ["--config.data.problems=2000", "--config.evaluation.problems=64"]
    command += ["--config.evaluation.samples=2", "--config.evaluation.every=0"]
    # The flags of tests, by which code compiles in half the time, but for their devices.
    flags = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if "device_count" not in flag]
    environment = os.environ | {"XLA_FLAGS": " ".join(flags)}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=600)
    metrics = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    first, last = metrics[:3], metrics[-3:]
    mean = lambda records, name: np.mean([record[name] for record in records])  # noqa: E731
    # Measured: the share of right answers about doubles; with flipped advantages it falls towards zero.
    assert mean(last, "pass@1/train") > mean(first, "pass@1/train") + 0.15
    assert mean(last, "tokens/completion") > mean(first, "tokens/completion") * 1.2
