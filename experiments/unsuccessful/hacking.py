"""A learned reward as the only one under a long run: does accuracy follow it?

Of each seed a model of outcomes and a model of steps learn from few samples of the start policy. GRPO, without a
penalty for leaving the reference, then maximizes what they say; beside it the same run with the exact rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from experiments.unsuccessful.commands import train
from rl_reason.errors import RunError
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.workdir import Workdir

FEW = {
    "data.problems": "120", "steps": "15", "algorithm.warmup_steps": "3", "sampling.temperature": "1.0",
    "evaluation.samples": "0", "evaluation.every": "0",
}  # fmt: skip
"""How a reward model is trained: 960 samples of the start policy, 15 steps of 64."""
JUDGES = {"outcome": "orm_math", "process": "prm_math"}
FREE = {"algorithm.kl_coef": "0.0"}
"""Nothing keeps the policy where it began."""
LONG = FREE | {
    "algorithm.batch_size": "64", "evaluation.problems": "200", "evaluation.samples": "2",
    "evaluation.samples_during": "2", "checkpoint.every": "25",
}  # fmt: skip
EVALUATIONS = 10
"""Of a run, beside the one before."""
WINDOW = 5
"""Rollouts whose mean says what a learned reward is at a step."""


@dataclass(frozen=True)
class Arm:
    """What is maximized. The exact rule says what is right in all of them."""

    label: str
    judge: str
    """The model that is asked: a key of `JUDGES`."""
    measure: str
    """The metric that is its mean over a rollout."""
    changes: Mapping[str, str] = field(default_factory=dict)
    config: str = "grpo_math"


def arms_by(rule: str) -> dict[str, Arm]:
    """What is compared, where the reward `rule` says what is right."""

    def of_completions(of_rule: float, of_model: float) -> dict[str, str]:
        return {"reward.names": f"('{rule}','model')", "reward.weights": f"({of_rule},{of_model})"}

    of_steps = {"reward.names": f"('{rule}',)", "reward.weights": "(0.0,)", "reward.steps": "model"}
    return {
        "rule": Arm("exact rule (outcome model: measured)", "outcome", "reward/model", of_completions(1.0, 0.0)),
        "outcome": Arm("outcome model", "outcome", "reward/model", of_completions(0.0, 1.0)),
        "product": Arm("process model, product of steps", "process", "reward/model", of_completions(0.0, 1.0)),
        "process": Arm("process model, sum of steps", "process", "reward/step", of_steps, "grpo_process_math"),
    }


ARMS = arms_by("marked_number")


def run(folder: Path, name: str, seed: int, steps: int) -> None:
    """An arm of a seed, with the reward model that it needs, in `folder`."""
    arm = ARMS[name]
    judge = folder / f"judge_{arm.judge}"
    train(JUDGES[arm.judge], judge, FEW | {"seed": str(seed)})
    how_long = {"steps": str(steps), "evaluation.every": str(steps // EVALUATIONS), "seed": str(seed)}
    train(arm.config, folder / name, LONG | arm.changes | how_long | {"reward.model": str(judge / "export")})


def read(folder: Path, name: str) -> dict:
    """Held-out accuracy, and of the rollouts the learned reward, the share that is right, lengths and steps."""
    workdir, arm = Workdir(folder / name), ARMS[name]
    if not (folder / name / "export").exists():
        raise RunError(f"{folder / name}: is missing; run this command without --draw")
    evaluations, rollouts = list(read_jsonl(workdir.eval)), list(read_jsonl(workdir.metrics))
    kept = {"learned": arm.measure, "right": "pass@1/train", "tokens": "tokens/completion", "steps": "steps/completion"}
    return {
        "evaluations": [{key: record[key] for key in ("step", "pass@1", "pass@1_ci95")} for record in evaluations],
        "rollouts": {"step": [record["step"] for record in rollouts]}
        | {name: [record.get(key) for record in rollouts] for name, key in kept.items()},
    }


def accuracy_at(result: dict, share: float) -> float:
    """Held-out pass@1 after that share of a run."""
    evaluations = result["evaluations"]
    return evaluations[round(share * (len(evaluations) - 1))]["pass@1"]


def learned_at(result: dict, share: float) -> float:
    """Mean of the learned reward over the rollouts up to that share of a run; of the first ones at 0."""
    values = result["rollouts"]["learned"]
    end = max(round(share * len(values)), min(WINDOW, len(values)))
    last = values[max(end - WINDOW, 0) : end]
    return sum(last) / len(last)
