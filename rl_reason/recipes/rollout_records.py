"""What a step of sampled completions leaves on record: numbers for metrics.jsonl, completions for samples.jsonl and
corrections.jsonl."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rl_reason.data.token_texts import token_characters
from rl_reason.data.tokenization import decode
from rl_reason.recipes.exploration import Exploration
from rl_reason.recipes.rollout import Batch
from rl_reason.recipes.setup import Model
from rl_reason.rewards import VERDICTS
from rl_reason.rewards.combination import UNJUDGED, describe_failure, is_given
from rl_reason.rewards.estimators import majority
from rl_reason.rewards.language import mixes
from rl_reason.rewards.reflection import rates
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.settings import Reward

MOST_CORRECTIONS = 20
"""Completions that correct themselves which are kept of a run, the first ones."""


def rollout_metrics(drawn: Exploration, batch: Batch, reward: Reward) -> dict[str, float]:
    """Of all that was drawn, trained on or not: rewards and their parts (each over the problems that it is given to),
    lengths, what kept a group from teaching anything, votes of a group (`estimators.majority`), and signs of reflection
    (`reflection.rates`)."""
    samples, graded, group_size, correct = drawn.samples, drawn.graded, drawn.group_size, drawn.correct
    judged = np.array([verdict != UNJUDGED for verdict in graded.verdicts])
    by_group = graded.total.reshape(-1, group_size)
    lengths = samples.lengths
    metrics = {
        "reward/mean": graded.total.mean(),
        "reward/std": by_group.std(axis=1).mean(),
        "pass@1/train": _mean(correct[judged]),
        f"pass@{group_size}/train": _mean(correct[judged].reshape(-1, group_size).any(axis=1)),
        "groups/drawn": len(by_group),
        "groups/equal_rewards": (by_group.max(axis=1) == by_group.min(axis=1)).mean(),
        "tokens/completion": lengths.mean(),
        "tokens/completion_max": lengths.max(),
        "tokens/prompt": float(np.mean([len(prompt.prompt_ids) for prompt in drawn.asked])),
        "tokens/sampled": lengths.sum(),
        "truncated": (~samples.finished).mean(),
    }
    for name, of_kind in (("right", correct), ("wrong", judged & ~correct)):
        if of_kind.any():
            metrics[f"tokens/{name}"] = lengths[of_kind].mean()
    if group_size > 1 and all(one is not None for one, ok in zip(graded.extracted, correct, strict=True) if ok):
        groups = np.flatnonzero(judged).reshape(-1, group_size)
        votes = [majority([graded.extracted[row] for row in rows], correct[rows]) for rows in groups]
        metrics[f"maj@{group_size}/train"] = _mean(np.array(votes))
    metrics |= rates(drawn.reflections, correct)
    if "advantages" in batch:
        metrics["advantages/max"] = np.abs(batch["advantages"]).max()
    if graded.steps:
        metrics["reward/step"] = np.mean([reward for row in graded.steps for reward in row])
        metrics["steps/completion"] = np.mean([len(row) for row in graded.steps])
    for name, scores in graded.parts.items():
        given = np.array([is_given(reward, name, problem) for problem in drawn.problems])
        if given.any():
            metrics[f"reward/{name}"] = scores[given].mean()
    mixing = [mixes(text, problem) for text, problem in zip(drawn.texts, drawn.problems, strict=True)]
    in_words = [one for one in mixing if one is not None]
    if in_words:
        metrics["language/mixed"] = np.mean(in_words)
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
    tokens = [samples.tokens[row, : samples.lengths[row]].tolist() for row in rows]
    characters = token_characters(model.tokenizer, tokens, [texts[row] for row in rows])
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
            **({"advantage": float(np.ravel(batch["advantages"][row])[0])} if "advantages" in batch else {}),
            "tokens": int(samples.lengths[row]),
            "finish": "stop" if samples.finished[row] else "length",
            **_of_tokens(row, of_row, batch),
        }
        | ({"failure": describe_failure(failed[row])} if row in failed else {})
        for row, of_row in zip(rows, characters, strict=True)
    ]


def _of_tokens(row: int, characters: Sequence[int], batch: Batch) -> dict[str, str]:
    """What is known of each token of a completion: as many as it has, and no more room than that (`packed`)."""
    length, advantages = len(characters), batch.get("advantages")
    known = {
        "token_logprobs": batch["sampler_logprobs"],
        "token_reference_logprobs": batch.get("reference_logprobs"),
        "token_advantages": advantages if advantages is not None and advantages.ndim == 2 else None,
    }
    return {"token_characters": packed(characters, "<u2")} | {
        name: packed(values[row, :length], "<f2") for name, values in known.items() if values is not None
    }


def packed(values: Sequence[float] | np.ndarray, dtype: str) -> str:
    """Numbers [N] as base64 of "<u2" or "<f2", the nearest ones that these have (`runtime.report.samples`)."""
    kind = np.finfo(dtype) if dtype == "<f2" else np.iinfo(dtype)
    return base64.b64encode(np.clip(values, kind.min, kind.max).astype(dtype).tobytes()).decode()


class Corrections:
    """The first completions of a run in which a wrong calculation is written again, rightly (`rewards.reflection`).

    Args:
        file: those that were kept so far, of steps that are not run again.
    """

    def __init__(self, file: Path):
        self._left = MOST_CORRECTIONS - sum(1 for _ in read_jsonl(file))

    def records(self, step: int, drawn: Exploration, model: Model) -> Sequence[dict]:
        """Those of a step, as long as there is room for them. `wrong` and `right`: where the equations of the first
        correction stand in the completion, first character and the one behind the last."""
        if self._left <= 0:
            return []
        rows = [row for row, one in enumerate(drawn.reflections) if one.corrects][: self._left]
        self._left -= len(rows)
        made = []
        for row in rows:
            first = next(one for one in drawn.reflections[row].revisions if one.corrects)
            problem, group = drawn.problems[row], drawn.group_size
            made.append(
                {
                    "step": step,
                    "id": problem["id"],
                    "sample": row % group,
                    "prompt": decode(model.tokenizer, drawn.asked[row // group].prompt_ids),
                    "completion": drawn.texts[row],
                    "answer": problem.get("answer"),
                    "verdict": drawn.graded.verdicts[row],
                    "wrong": first.before,
                    "right": first.after,
                }
            )
        return made
