"""Distillation on the logits of a teacher: generalized knowledge distillation (GKD, arXiv 2306.13649, algorithm 1).

    for each step:
        completions of the student, with probability λ; else of a file      (sampling, data.completions)
        what the teacher says of each of their tokens                       (distillation_update)
        grades, which are measured and teach nothing                        (rewards, on the host)
        update by the divergence of the two distributions of each token     (objectives.distillation)

At the end `export/` holds the student as a Hugging Face folder. The teacher does not change, and is no part of
checkpoints: it is read from its files again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grain
import numpy as np
import optax

from rl_reason.data import sources
from rl_reason.data.completions import Completion, read_completions
from rl_reason.data.iterators import EncodedPrompt, padded_length, prompt_iterator
from rl_reason.data.templates import find_template
from rl_reason.errors import UsageError
from rl_reason.models.flops import BACKWARD
from rl_reason.models.huggingface import source_dtype
from rl_reason.models.weights import count
from rl_reason.parallel import hosts
from rl_reason.parallel.mesh import make_mesh
from rl_reason.recipes import bookkeeping
from rl_reason.recipes.accumulation import rows_at_once
from rl_reason.recipes.checks.common import check_rows
from rl_reason.recipes.checks.distillation import check_distillation
from rl_reason.recipes.completions import Batch
from rl_reason.recipes.distillation_update import Update, make_update
from rl_reason.recipes.drawing import make_policy_sampler, make_sample
from rl_reason.recipes.evaluation import HeldOut, Samples, to_host
from rl_reason.recipes.exploration import Exploration
from rl_reason.recipes.golds import readable
from rl_reason.recipes.grading import begin_grading
from rl_reason.recipes.loop import Loop, forward_flops
from rl_reason.recipes.optimizer import TrainState
from rl_reason.recipes.rollout import make_batch, weigh
from rl_reason.recipes.rollout_records import rollout_metrics, sample_records
from rl_reason.recipes.setup import Model, check_length, describe_model, describe_teacher, encode_prompts, take_problems
from rl_reason.recipes.state import final_weights
from rl_reason.rewards.combination import Rewarder, failure_line
from rl_reason.runtime.clock import Clock
from rl_reason.settings import Settings

log = logging.getLogger(__name__)
SHOWN = {
    "divergence": "distillation/divergence",
    "agreement": "distillation/agreement",
    "pass@1": "pass@1/train",
    "length": "tokens/completion",
    "entropy": "entropy",
}
"""Beside the progress bar: label → metric."""


def run(settings: Settings, workdir_path: str | Path) -> None:
    """Trains as the settings say, in `workdir_path`; resumes what is there."""
    check_distillation(settings)
    with Rewarder(settings.reward, settings.judge) as rewarder:
        task = _prepare(settings, rewarder)
        _train(settings, task, workdir_path, rewarder)


@dataclass(frozen=True)
class _Task:
    """What is trained on: read, encoded and found right."""

    student: Model
    teacher: Model
    tokens: int
    """That both vocabularies have."""
    problems: Sequence[dict]
    """Of the questions."""
    prompt_length: int
    """Tokens of the longest prompt of all."""
    data: dict[str, grain.DatasetIterator]
    """"questions": batches of `EncodedPrompt`; "completions": batches of `Completion`. Those that the share of steps
    asks for."""
    held_out: list[HeldOut]

    def position(self) -> dict[str, Any]:
        """Of all data."""
        return {name: data.get_state() for name, data in self.data.items()}


def _prepare(settings: Settings, rewarder: Rewarder) -> _Task:
    """Everything that can be wrong, before anything is compiled or written."""
    algorithm, data, wanted = settings.algorithm, settings.data, settings.distillation
    problems: Sequence[dict] = []
    if wanted.on_policy > 0:
        problems = take_problems(sources.load(data.name, data.split, data.dir, settings.seed), data.problems)
    rows = read_completions(Path(wanted.completions).expanduser()) if wanted.completions else []
    texts = lambda: (row["problem"] for row in (*problems, *rows))  # noqa: E731
    student = describe_model(settings.model, make_mesh(settings.mesh), texts)
    student.check_files()
    teacher = describe_teacher(student, wanted.teacher, "config.distillation.teacher")
    tokens = common_tokens(student, teacher)
    if wanted.top_k > tokens:
        raise UsageError(
            f"config.distillation.top_k={wanted.top_k}: expected at most {tokens}, the tokens of the vocabulary"
        )
    asked = _encode(settings, student, problems)
    completions = _encode_completions(settings, student, rows)
    longest = max(len(prompt.prompt_ids) for prompt in (*asked, *(one.prompt for one in completions)))
    check_length(student, longest, settings.sampling.max_length, "config.sampling.max_length")
    check_length(
        teacher, longest, settings.sampling.max_length, "config.distillation.teacher: config.sampling.max_length"
    )
    check_rows(settings, student.mesh)
    iterators = {}
    if problems:
        asked = list(readable(rewarder, HeldOut(data.name, problems, asked), data.unreadable).prompts)
        iterators["questions"] = prompt_iterator(asked, algorithm.batch_size // algorithm.group_size, settings.seed)
    if completions:
        iterators["completions"] = prompt_iterator(completions, algorithm.batch_size, settings.seed)
    held_out = bookkeeping.load_held_out(settings, student, rewarder)
    return _Task(student, teacher, tokens, problems, longest, iterators, held_out)


def common_tokens(student: Model, teacher: Model) -> int:
    """Rows that both vocabularies have of the student's tokens. Most models have more rows than tokens, each as many
    as it likes."""
    count = max(student.tokenizer.get_vocab().values(), default=student.config.vocab_size - 1) + 1
    return min(count, student.config.vocab_size, teacher.config.vocab_size)


def _encode(settings: Settings, model: Model, problems: Sequence[dict]) -> list[EncodedPrompt]:
    data = settings.data
    if not problems:
        return []
    return encode_prompts(problems, find_template(data.template), model, data.max_prompt_length, data.long_prompts)


def _encode_completions(settings: Settings, model: Model, rows: Sequence[dict]) -> list[Completion]:
    """The completions of a file that fit into `sampling.max_length`."""
    limit, wanted = settings.sampling.max_length, settings.distillation
    made, dropped = [], 0
    for prompt in _encode(settings, model, rows):
        row = rows[prompt.index]
        finished = row["finish"] == "stop"
        ids = model.tokenizer(row["completion"], add_special_tokens=False)["input_ids"]
        ids = [*ids, model.tokenizer.eos_token_id] if finished else ids
        if len(ids) <= limit:
            made.append(Completion(prompt, ids, finished))
        elif settings.data.long_prompts == "drop":
            dropped += 1
        else:
            raise UsageError(
                f"config.sampling.max_length={limit}: config.distillation.completions={wanted.completions!r}: row "
                f"{row['id']!r} has {len(ids)} tokens; expected a larger limit, or config.data.long_prompts='drop'"
            )
    if dropped:
        log.warning("dropped %d of %d completions longer than %d tokens", dropped, dropped + len(made), limit)
    if rows and len(made) < settings.algorithm.batch_size:
        raise UsageError(
            f"config.algorithm.batch_size={settings.algorithm.batch_size}: config.distillation.completions="
            f"{wanted.completions!r} has {len(made)} completions; expected at most as many"
        )
    return made


def micro_batch(settings: Settings) -> int:
    """Rows whose activations may exist at the same time."""
    return rows_at_once(settings.algorithm.micro_batch, settings.algorithm.batch_size)


def _train(settings: Settings, task: _Task, workdir_path: str | Path, rewarder: Rewarder) -> None:
    student, limit = task.student, settings.sampling.max_length

    def make(model: Model, optimizer: optax.GradientTransformation, places: TrainState) -> Update:
        return make_update(
            model, task.teacher, settings.distillation, optimizer, places, micro_batch(settings), task.tokens
        )

    # Before the run's folder is made: its weights may be broken.
    teacher = task.teacher.load_params(settings.seed, student.dtype)
    others = {"distillation.teacher": task.teacher}
    begun = bookkeeping.begin(settings, student, workdir_path, make, others)
    workdir, state, update = begun.workdir, begun.state, begun.step
    for name, position in begun.position.items():
        task.data[name].set_state(position)
    if hosts.is_first():
        print(f"teacher {task.teacher.folder}: {count(task.teacher.config) / 1e6:.2f}M parameters", flush=True)
    sampler = make_policy_sampler(settings, student, settings.algorithm.group_size)
    sample = make_sample(settings, student, sampler, task.prompt_length)
    with Loop(settings, student, workdir, begun.start, SHOWN) as loop:
        at_once = rows_at_once(settings.sampling.batch_size, settings.algorithm.batch_size)
        evaluate = bookkeeping.make_evaluate(settings, student, task.held_out, rewarder, loop, limit, at_once)
        loop.begin(state, evaluate)

        for step in loop:
            # Completions. The update of the step before still runs: sampling waits in line behind it, and only then are
            # its metrics read.
            clock = loop.clock(step)
            is_own = samples_itself(settings, step)
            if is_own:
                asked = next(task.data["questions"])
                dispatched = sample(state, asked, step)
                loop.previous(clock)
                clock.begin("sample")
                samples = to_host(dispatched)
                loop.give_way()
            else:
                written = next(task.data["completions"])
                asked, samples = [one.prompt for one in written], written_samples(written, limit, student.pad_id)
                loop.previous(clock)
            batch = make_batch(
                asked, samples, len(samples.lengths) // len(asked), padded_length(asked, task.prompt_length),
                student.pad_id,
            )  # fmt: skip
            batch, denominator = weigh(batch, settings.algorithm.reduction, limit)

            # The teacher works while the host grades.
            update_by_teacher = update.begin(teacher, batch, denominator)
            explored = _explore(task, rewarder, asked, samples, step, loop, clock) if is_own else None
            loop.update(clock)
            state["train"], updated = update_by_teacher(state["train"])

            values = {"distillation/on_policy": float(is_own), "tokens/completion": float(samples.lengths.mean())}
            shown = []
            if explored:
                values |= rollout_metrics(explored, batch, settings.reward)
                shown = sample_records(step, settings.log.samples, explored, batch, student)
            loop.pend(step, clock, batch, [updated], values, shown, flops=_flops(task, batch, is_own))
            loop.end(step, state, task.position(), evaluate)
        weights = final_weights(student, state["train"].params, settings.seed)
        bookkeeping.export_model(workdir.path / "export", student, weights, source_dtype(student.config))
    bookkeeping.close_run(workdir)


def samples_itself(settings: Settings, step: int) -> bool:
    """Whether the completions of a step are the student's own (algorithm 1)."""
    return bool(np.random.default_rng((settings.seed, step)).random() < settings.distillation.on_policy)


def written_samples(written: Sequence[Completion], length: int, pad_id: int) -> Samples:
    """Completions of a file as if they had been sampled, by nobody knows whom."""
    lengths = np.array([len(one.ids) for one in written], np.int32)
    tokens = np.full((len(written), length), pad_id, np.int32)
    for row, one in zip(tokens, written, strict=True):
        row[: len(one.ids)] = one.ids
    finished = np.array([one.finished for one in written])
    return Samples(tokens, np.zeros(tokens.shape, np.float32), lengths, finished)


def _explore(
    task: _Task,
    rewarder: Rewarder,
    asked: Sequence[EncodedPrompt],
    samples: Samples,
    step: int,
    loop: Loop,
    clock: Clock,
) -> Exploration:
    """The student's completions with their grades; tells of the first that failed."""
    clock.begin("reward")
    texts, group = samples.texts(task.student), len(samples.lengths) // len(asked)
    problems = [task.problems[prompt.index] for prompt in asked for _ in range(group)]
    graded = begin_grading(rewarder, texts, problems)(clock)
    for failure in graded.failures[:3]:
        loop.progress.note(f"step {step}: {failure_line(failure, problems[failure['index']]['id'])}")
    return Exploration(list(asked), problems, texts, samples, graded)


def _flops(task: _Task, batch: Batch, is_own: bool) -> float:
    """What the models' products of a step need: the student's sampling, if it did, its update, the teacher's pass."""
    once = forward_flops(task.student.config, batch)
    return (is_own + 1 + BACKWARD) * once + forward_flops(task.teacher.config, batch)
