"""Labels that are made here: completions of a policy, sampled and judged, one a row of a file (`data.labelled`).

Whether a completion is right is what the rules say. Whether a step is, a rule says too, or it is tried out
(Math-Shepherd, arXiv 2312.08935, section 3): the policy goes on from behind each step N times, and the share of its
completions that end right is the step's. Behind the last step nothing is open: its share is 1 or 0.

A file grows by whole batches of questions, each in one go: what was interrupted goes on behind the last whole batch.
All samples have keys of their own, so the file is the same however often that happened.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from rl_reason.data.iterators import EncodedPrompt, padded_length
from rl_reason.data.steps import make_step_ends
from rl_reason.data.tokenization import decode
from rl_reason.errors import UsageError
from rl_reason.models.weights import Params
from rl_reason.parallel import hosts
from rl_reason.recipes.evaluation import HeldOut, Samples, start_sampling, to_host
from rl_reason.recipes.grading import grade
from rl_reason.recipes.setup import Model
from rl_reason.rewards.combination import Graded, Rewarder, describe_failure, failure_line
from rl_reason.runtime.progress import Progress
from rl_reason.runtime.workdir import write_atomic
from rl_reason.sampling.sampler import make_sampler
from rl_reason.settings import Settings

STEPS_A_SAMPLE = 64
"""Rollouts from this step on share their random numbers with those of other samples, which does no harm."""


@dataclass(frozen=True)
class Sampling:
    """How completions of a set of problems are drawn."""

    samples: int
    """Of each problem."""
    temperature: float
    top_p: float
    seed: int
    """Tells the sets of a run apart."""


def make_labels(
    file: Path, data: HeldOut, sampling: Sampling, settings: Settings, policy: Model, params: Params, rewarder: Rewarder
) -> None:
    """Writes the file, or what is missing of it.

    Args:
        file: of rows with `id`, `problem`, `answer`, `sample`, `completion`, `tokens`, `finish`, `correct` (or
            `failure`, where a reward failed), and of steps `labels` (1 or −1) or `shares`.
        data: the problems with their prompts.
        sampling: of their completions.
        settings: of the run.
        policy: what samples.
        params: its weights, in the compute dtype.
        rewarder: its verdict says what is correct.

    Raises:
        UsageError: the file holds other rows than this would write.
    """
    prompts, group = data.prompts, sampling.samples
    rows = settings.sampling.batch_size or settings.algorithm.batch_size
    per_batch = min(max(rows // group, 1), len(prompts))
    longest = max(len(prompt.prompt_ids) for prompt in prompts)
    sample = _make_sample(settings, policy, params, group, sampling)
    judge = _make_judge(settings, policy, params, sampling, rewarder, rows, longest)
    hosts.wait(f"{file.name}: looked at")
    there = _whole_batches(file, data, per_batch, group)
    with Progress(len(prompts), there, title=f"label {data.name}", enabled=hosts.is_first()) as progress:
        for start in range(there, len(prompts), per_batch):
            asked = list(prompts[start : start + per_batch])
            # The last batch is filled up with its own first prompt, so that there are few shapes.
            filled = asked + asked[:1] * (per_batch - len(asked))
            made = sample(filled, padded_length(filled, longest)).take(np.arange(len(asked) * group))
            owners = [data.problems[prompt.index] for prompt in asked for _ in range(group)]
            written, failures = judge(asked, made, owners)
            for failure in failures[:3]:
                progress.note(failure_line(failure, owners[failure["index"]]["id"]))
            if hosts.is_first():
                _append(file, written)
            progress.advance(len(asked))
    hosts.wait(f"{file.name}: written")


def _make_sample(
    settings: Settings, policy: Model, params: Params, group: int, sampling: Sampling
) -> Callable[[Sequence[EncodedPrompt], int], Samples]:
    """`sample(prompts, padded length)`: so many completions of each."""
    sampler = make_sampler(
        policy.config,
        group_size=group,
        max_length=settings.sampling.max_length,
        stop_ids=policy.stop_ids,
        pad_id=policy.pad_id,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        dtype=policy.dtype,
        constrain=policy.constrain,
        decoding=policy.decoding,
    )
    key = jax.random.fold_in(jax.random.key(settings.seed), sampling.seed)
    weights = sampler.move(params)
    return lambda prompts, length: to_host([start_sampling(sampler, policy, weights, prompts, length, key)])


Judge = Callable[[Sequence[EncodedPrompt], Samples, Sequence[dict]], tuple[list[dict], list[dict]]]
"""(prompts, their completions, the problem of each completion) → the rows to write, and the rewards that failed
(`Graded.failures`)."""


def _make_judge(
    settings: Settings, policy: Model, params: Params, sampling: Sampling, rewarder: Rewarder, rows: int, longest: int
) -> Judge:
    learned, tokenizer = settings.reward_model, policy.tokenizer
    step_ends = make_step_ends(tokenizer, settings.reward.step_separator)
    by_steps = learned.kind == "process"
    tries = learned.rollouts
    # Their keys are others than those of the completions that they start from.
    roll = _make_sample(
        settings, policy, params, tries, Sampling(tries, sampling.temperature, sampling.top_p, sampling.seed + 2)
    )

    def judge(asked: Sequence[EncodedPrompt], made: Samples, owners: Sequence[dict]) -> tuple[list[dict], list[dict]]:
        texts = made.texts(policy)
        ends = [step_ends(row[:n]) for row, n in zip(made.tokens, made.lengths, strict=True)]
        steps = None
        if by_steps and learned.labels == "rules":
            steps = [
                [
                    decode(tokenizer, part.tolist())
                    for part in np.split(row[: of_row[-1] + 1], np.array(of_row[:-1], int) + 1)
                ]
                for row, of_row in zip(made.tokens, ends, strict=True)
            ]
        graded = grade(rewarder, texts, owners, steps)
        labels = _labels(asked, made, owners, ends, graded) if by_steps else [{} for _ in texts]
        group = len(texts) // len(asked)
        # What could not be judged is neither right nor wrong.
        failed = {failure["index"]: describe_failure(failure) for failure in graded.failures}
        for row, of_row in enumerate(labels):
            if any(map(math.isnan, of_row.get("shares", ()))):
                told = {"part": "rollouts", "kind": "error", "message": "no completion of a step could be judged"}
                failed.setdefault(row, told)
        written = [
            {
                "id": owner["id"],
                "problem": owner["problem"],
                "answer": owner["answer"],
                "sample": row % group,
                "completion": texts[row],
                "tokens": made.tokens[row, : made.lengths[row]].tolist(),
                "finish": "stop" if made.finished[row] else "length",
                **({"failure": failed[row]} if row in failed else {"correct": graded.verdicts[row] == "correct"}),
                **({} if row in failed else labels[row]),
            }
            for row, owner in enumerate(owners)
        ]
        return written, graded.failures

    def _labels(
        asked: Sequence[EncodedPrompt], made: Samples, owners: Sequence[dict], ends: list[list[int]], graded: Graded
    ) -> list[dict]:
        if learned.labels == "rules":
            return [{"labels": [1 if reward > 0 else -1 for reward in of_row]} for of_row in graded.steps]
        group = len(owners) // len(asked)
        # From behind each step but the last.
        begun = [(row, n, end) for row, of_row in enumerate(ends) for n, end in enumerate(of_row[:-1])]
        prefixes = []
        for row, n, end in begun:
            prompt = asked[row // group]
            number = (prompt.index * group + row % group) * STEPS_A_SAMPLE + n % STEPS_A_SAMPLE
            ids = [*prompt.prompt_ids, *made.tokens[row, : end + 1].tolist()]
            prefixes.append(EncodedPrompt(number % 2**31, ids))
        shares = iter(_shares(prefixes, [(made.tokens[row, : end + 1], owners[row]) for row, _, end in begun]))
        return [
            {"shares": [*(next(shares) for _ in of_row[:-1]), float(graded.verdicts[row] == "correct")]}
            for row, of_row in enumerate(ends)
        ]

    def _shares(prefixes: Sequence[EncodedPrompt], begun: Sequence[tuple[np.ndarray, dict]]) -> list[float]:
        """Of each prefix the share of its completions that end right, among those whose reward did not fail; NaN
        where all did."""
        per_batch = max(rows // tries, 1)
        found: list[float] = []
        for start in range(0, len(prefixes), per_batch):
            asked, told = list(prefixes[start : start + per_batch]), begun[start : start + per_batch]
            filled = asked + asked[:1] * (per_batch - len(asked))
            made = roll(filled, padded_length(filled, longest + settings.sampling.max_length))
            texts, owners = [], []
            for i, (before, problem) in enumerate(told):
                for row in range(i * tries, (i + 1) * tries):
                    texts.append(decode(tokenizer, [*before.tolist(), *made.tokens[row, : made.lengths[row]].tolist()]))
                    owners.append(problem)
            graded = grade(rewarder, texts, owners)
            right = np.array([verdict == "correct" for verdict in graded.verdicts]).reshape(-1, tries)
            judged = np.ones(right.size, bool)
            judged[[failure["index"] for failure in graded.failures]] = False
            judged = judged.reshape(right.shape)
            found += [float(r[j].mean()) if j.any() else math.nan for r, j in zip(right, judged, strict=True)]
        return found

    return judge


def _whole_batches(file: Path, data: HeldOut, per_batch: int, group: int) -> int:
    """How many of the prompts are done; cuts off what a kill has left of the batch behind them."""
    if not file.exists():
        return 0
    lines = file.read_bytes().split(b"\n")[:-1]  # What follows the last line end is torn.
    prompts = len(lines) // group
    if prompts < len(data.prompts):
        prompts -= prompts % per_batch
    if len(lines) > len(data.prompts) * group:
        raise UsageError(f"{file}: holds {len(lines)} rows; expected at most {len(data.prompts) * group}")
    for row in {0, prompts * group - 1} if prompts else ():
        expected = data.problems[data.prompts[row // group].index]["problem"]
        if json.loads(lines[row]).get("problem") != expected:
            raise UsageError(
                f"{file}, line {row + 1}: is of another problem than this run's; expected an untouched file"
            )
    kept = b"".join(line + b"\n" for line in lines[: prompts * group])
    if hosts.is_first() and len(kept) < file.stat().st_size:
        write_atomic(file, kept)
    return prompts


def _append(file: Path, rows: Sequence[dict]) -> None:
    with open(file, "a", encoding="utf-8") as out:
        out.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        out.flush()
        os.fsync(out.fileno())
