"""Completions of the training questions, sampled and graded once, before training: `collected.jsonl`.

A line is a sample: `id`, `sample`, `prompt`, `completion`, `tokens`, `reward`, `verdict` and what else
`evaluation.sample_records` says; those of a question stand together, questions in the order of the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import jax

from rl_reason.data import sources
from rl_reason.data.templates import find_template
from rl_reason.errors import RunError
from rl_reason.models.weights import Params
from rl_reason.parallel import hosts
from rl_reason.recipes.evaluation import HeldOut, questions_at_once, sample_records
from rl_reason.recipes.record_files import append, lines, read_kept
from rl_reason.recipes.setup import Model, check_length, encode_prompts
from rl_reason.rewards.combination import Rewarder, failure_line
from rl_reason.runtime.progress import Progress
from rl_reason.runtime.workdir import write_atomic
from rl_reason.sampling.sampler import make_sampler
from rl_reason.settings import Data, Settings

ROWS = 1024
"""Completions that are sampled at the same time where `sampling.batch_size` says nothing."""


def load_questions(settings: Settings) -> Sequence[dict]:
    """The problems of `config.data`."""
    data: Data = settings.data
    problems = sources.load(data.name, data.split, data.dir, settings.seed)
    return problems[: data.problems or len(problems)]


def encode_questions(settings: Settings, model: Model, problems: Sequence[dict]) -> HeldOut:
    """The problems with their prompts, which fit into the model together with a completion."""
    data = settings.data
    template = find_template(data.template)
    prompts = encode_prompts(problems, template, model, data.max_prompt_length, data.long_prompts)
    longest = max(len(prompt.prompt_ids) for prompt in prompts)
    check_length(model, longest, settings.sampling.max_length, "config.sampling.max_length")
    return HeldOut(data.name, problems, prompts)


def collect(
    settings: Settings,
    model: Model,
    policy: Params | None,
    questions: HeldOut,
    rewarder: Rewarder,
    file: Path,
) -> list[list[dict]]:
    """`config.collect.samples` completions of each question, drawn as `config.sampling` says: records by question.

    They are appended to `file` batch by batch. What a killed run has left there is kept, but for a batch that is not
    whole, which is sampled again with the same random numbers: the file is in the end that of a run that nobody
    stopped.

    Args:
        settings: of the run.
        model: the policy without its weights.
        policy: its weights; None where it is trained by now, and all is in the file.
        questions: as `encode_questions` makes them.
        rewarder: grades.
        file: where the records go, written by the first host and read by all.

    Raises:
        RunError: the file holds completions of other questions, or not all and there is no policy to sample the rest.
    """
    sampling, samples = settings.sampling, settings.collect.samples
    per_batch = questions_at_once(sampling.batch_size or ROWS, samples, len(questions.prompts))
    whole = len(questions.prompts) * samples
    ids = [questions.problems[prompt.index]["id"] for prompt in questions.prompts for _ in range(samples)]
    records = read_kept(file, ids, per_batch * samples)
    hosts.wait("collect: read")
    if len(records) < whole:
        if policy is None:
            raise RunError(f"{file}: is not whole, and the policy that sampled it is trained by now; expected it back")
        if hosts.is_first():
            write_atomic(file, lines(records))
        done, title = len(records) // samples, f"collect {questions.name}"
        batches = sample_rest(settings, model, policy, questions, rewarder, done)
        for batch in show(batches, len(questions.prompts), done, samples, title):
            if hosts.is_first():
                append(file, batch)
            records += batch
    return [records[i : i + samples] for i in range(0, whole, samples)]


def sample_rest(
    settings: Settings,
    model: Model,
    params: Params,
    questions: HeldOut,
    rewarder: Rewarder,
    done: int,
    stops: Callable[[dict], Sequence[str]] = lambda problem: (),
) -> Iterator[list[dict]]:
    """The records of all questions but the first `done`, batch by batch; `stops` as in `evaluation.sample_records`."""
    sampling, samples = settings.sampling, settings.collect.samples
    sampler = make_sampler(
        model.config,
        group_size=samples,
        max_length=sampling.max_length,
        stop_ids=model.stop_ids,
        pad_id=model.pad_id,
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        min_p=sampling.min_p,
        dtype=model.dtype,
        constrain=model.constrain,
        decoding=model.decoding,
    )
    per_batch = questions_at_once(sampling.batch_size or ROWS, samples, len(questions.prompts))
    key = jax.random.fold_in(jax.random.key(settings.seed), 0)  # steps of training count from 1
    return sample_records(sampler, model, params, questions, rewarder, samples, per_batch, key, done, stops)


def show(batches: Iterable[list[dict]], questions: int, done: int, samples: int, title: str) -> Iterator[list[dict]]:
    """The batches of records, with a bar that says how many of the questions are done and how many samples are right;
    tells of the first that failed."""
    made = right = 0
    with Progress(questions, done, title, enabled=hosts.is_first()) as progress:
        for batch in batches:
            yield batch
            for record in [record for record in batch if "failure" in record][:3]:
                progress.note(failure_line(record["failure"], record["id"]))
            made, right = made + len(batch), right + sum(record["correct"] for record in batch)
            progress.update(done + made // samples, {"pass@1": right / made})
