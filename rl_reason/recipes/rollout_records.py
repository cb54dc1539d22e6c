"""What a policy-gradient step leaves on record: numbers for metrics.jsonl, completions for samples.jsonl."""

from __future__ import annotations

import numpy as np

from rl_reason.data.tokenization import decode
from rl_reason.recipes.exploration import Exploration
from rl_reason.recipes.rollout import Batch
from rl_reason.recipes.setup import Model
from rl_reason.rewards import VERDICTS
from rl_reason.rewards.combination import UNJUDGED, describe_failure, is_given
from rl_reason.settings import Reward


def rollout_metrics(drawn: Exploration, batch: Batch, reward: Reward) -> dict[str, float]:
    """Of all that was drawn, trained on or not: rewards and their parts (each over the problems that it is given to),
    lengths, and what kept a group from teaching anything."""
    samples, graded, group_size = drawn.samples, drawn.graded, drawn.group_size
    judged = np.array([verdict != UNJUDGED for verdict in graded.verdicts])
    correct = np.array([verdict == "correct" for verdict in graded.verdicts])
    by_group = graded.total.reshape(-1, group_size)
    lengths = samples.lengths
    metrics = {
        "reward/mean": graded.total.mean(),
        "reward/std": by_group.std(axis=1).mean(),
        "pass@1/train": _mean(correct[judged]),
        f"pass@{group_size}/train": _mean(correct[judged].reshape(-1, group_size).any(axis=1)),
        "groups/drawn": len(by_group),
        "groups/equal_rewards": (by_group.max(axis=1) == by_group.min(axis=1)).mean(),
        "advantages/max": np.abs(batch["advantages"]).max(),
        "tokens/completion": lengths.mean(),
        "tokens/completion_max": lengths.max(),
        "tokens/prompt": float(np.mean([len(prompt.prompt_ids) for prompt in drawn.asked])),
        "tokens/sampled": lengths.sum(),
        "truncated": (~samples.finished).mean(),
    }
    if correct.any() and not correct[judged].all():
        metrics["tokens/correct"] = lengths[correct].mean()
        metrics["tokens/wrong"] = lengths[judged & ~correct].mean()
    if graded.steps:
        metrics["reward/step"] = np.mean([reward for row in graded.steps for reward in row])
        metrics["steps/completion"] = np.mean([len(row) for row in graded.steps])
    for name, scores in graded.parts.items():
        given = np.array([is_given(reward, name, problem) for problem in drawn.problems])
        if given.any():
            metrics[f"reward/{name}"] = scores[given].mean()
    metrics |= {f"verdict/{verdict}": graded.verdicts.count(verdict) for verdict in VERDICTS}
    metrics |= {f"grader/{kind}": count for kind, count in graded.counts.items()}
    return {name: float(value) for name, value in metrics.items()}


def _mean(values: np.ndarray) -> float:
    """Of no values, 0: a step whose problems are all given to no rule."""
    return float(values.mean()) if len(values) else 0.0


def sample_records(step: int, count: int, trained: Exploration, batch: Batch, model: Model) -> list[dict]:
    """The first `count` completions of the batch (whole groups, so that they can be compared) and every one whose
    reward failed."""
    texts, problems, samples, graded = trained.texts, trained.problems, trained.samples, trained.graded
    group = trained.group_size
    failed = {failure["index"]: failure for failure in graded.failures}
    rows = sorted({*range(min(count, len(texts))), *failed})
    return [
        {
            "step": step,
            "id": problems[row]["id"],
            "sample": row % group,
            "prompt": decode(model.tokenizer, trained.asked[row // group].prompt_ids),
            "completion": texts[row],
            "answer": problems[row]["answer"],
            "rewards": {name: float(scores[row]) for name, scores in graded.parts.items()},
            "reward": float(graded.total[row]),
            **({"step_rewards": graded.steps[row]} if graded.steps else {}),
            "verdict": graded.verdicts[row],
            # Of the first token, where they differ.
            "advantage": float(np.ravel(batch["advantages"][row])[0]),
            "tokens": int(samples.lengths[row]),
            "finish": "stop" if samples.finished[row] else "length",
        }
        | ({"failure": describe_failure(failed[row])} if row in failed else {})
        for row in rows
    ]
