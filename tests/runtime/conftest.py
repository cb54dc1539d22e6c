"""A run's folder with made records."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

HOSTILE = "</script><script>document.title='owned'</script><!-- <b>bold</b> & @@DATA@@ @@PLOTLY@@ \u2028 \u0000"


@pytest.fixture
def hostile() -> str:
    """What each made completion begins with: text that would run if it were taken for HTML or for a template."""
    return HOSTILE


@pytest.fixture
def made_run(tmp_path, run_maker) -> Callable[..., Path]:
    """A function (steps, samples, name) → folder of a run, as `run_maker` makes it."""
    return lambda steps=40, samples=12, name="run": run_maker(tmp_path / name, steps, samples)


@pytest.fixture(scope="session")
def run_maker() -> Callable[..., Path]:
    """A function (folder, steps, samples) → folder of a GRPO run whose values follow simple formulas of the step."""

    def make(folder: Path, steps: int = 40, samples: int = 12) -> Path:
        folder.mkdir(parents=True)
        reward = {"names": ["accuracy", "format"], "weights": [1.0, 0.1]}
        (folder / "config.json").write_text(json.dumps({"steps": steps, "seed": 0, "reward": reward}))
        records = [
            {
                "step": step, "reward/mean": step / steps + 0.1, "reward/accuracy": step / steps, "reward/format": 1.0,
                "reward/std": 0.3, "pass@1/train": step / steps, "tokens/completion": 100 + step,
                "kl/reference": 0.001 * step, "entropy": math.exp(-step / steps), "optimizer/grad_norm": None,
                "logprob_difference/mean": 0.001, "logprob_difference/max": 0.0 if step % 2 else 0.01,
                "time/sample_s": 2.0, "time/reward_s": 0.5, "time/update_s": 1.0, "time/step_s": 4.0,
            }
            for step in range(1, steps + 1)
        ]  # fmt: skip
        evals = [
            {"step": 0, "dataset": "held <i>out</i>", "n": 50, "pass@1": 0.1, "pass@1_ci95": [0.05, 0.15]},
            {"step": steps, "dataset": "held <i>out</i>", "n": 50, "pass@1": 0.6, "pass@1_ci95": [0.5, 0.7]},
        ]
        completions = [
            {
                "step": index + 1, "prompt": f"prompt {index}", "completion": f"{HOSTILE} {index}",
                "answer": str(index),
                "rewards": {"accuracy": float(index % 2), "format": 1.0}, "advantage": 0.5, "tokens": 10 + index,
            }
            for index in range(samples)
        ]  # fmt: skip
        for name, rows in (("metrics", records), ("eval", evals), ("samples", completions)):
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return folder

    return make
