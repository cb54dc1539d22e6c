"""Rejection-sampling fine-tuning (RFT): DeepSeekMath (arXiv 2402.03300), section 5.2 and appendix A.1.2.

    sample and grade completions of each question, once    (collecting)
    keep the right ones that differ                        (data.selection)
    fine-tune on them                                      (supervised)

`collected.jsonl` holds all samples, `selected.jsonl` what is learned. A run that was killed goes on where it was.
"""

from __future__ import annotations

import json
from pathlib import Path

from rl_reason.data.selection import select
from rl_reason.data.supervised import Example, Examples, make_batches
from rl_reason.errors import RunError, UsageError
from rl_reason.parallel import hosts
from rl_reason.parallel.mesh import make_mesh
from rl_reason.recipes import bookkeeping
from rl_reason.recipes.checks.supervised import check_rejection
from rl_reason.recipes.collecting import collect, encode_questions, load_questions
from rl_reason.recipes.golds import readable
from rl_reason.recipes.setup import describe_model
from rl_reason.recipes.supervised import fine_tune, make_supervised_step, row_length
from rl_reason.rewards.combination import Rewarder
from rl_reason.runtime.workdir import write_atomic
from rl_reason.settings import Settings


def run(settings: Settings, workdir_path: str | Path) -> None:
    """Samples and trains as the settings say, in `workdir_path`; resumes what is there.

    Raises:
        RunError: not one completion is right.
    """
    check_rejection(settings)
    with Rewarder(settings.reward, settings.judge) as rewarder:
        _run(settings, workdir_path, rewarder)


def _run(settings: Settings, workdir_path: str | Path, rewarder: Rewarder) -> None:
    algorithm, wanted = settings.algorithm, settings.collect
    problems = load_questions(settings)
    model = describe_model(settings.model, make_mesh(settings.mesh), lambda: (p["problem"] for p in problems))
    model.check_files()
    questions = readable(rewarder, encode_questions(settings, model, problems), settings.data.unreadable)
    key, length = row_length(settings)
    longest = max(len(prompt.prompt_ids) for prompt in questions.prompts) + settings.sampling.max_length
    if length < longest:
        raise UsageError(
            f"{key}={length}: a row holds a prompt with its completion; expected config.data.row_length of at least "
            f"{longest}"
        )
    held_out = bookkeeping.load_held_out(settings, model, rewarder)
    begun = bookkeeping.begin(settings, model, workdir_path, make_supervised_step)
    folder = begun.workdir.path

    groups = collect(settings, model, begun.start_policy, questions, rewarder, folder / "collected.jsonl")
    examples, selected = [], []
    for prompt, records in zip(questions.prompts, groups, strict=True):
        for record in select(records, wanted.threshold, wanted.keep):
            selected.append(record)
            examples.append(Example.of(prompt.prompt_ids, record["tokens"]))
    sampled = sum(map(len, groups))
    if not selected:
        raise RunError(
            f"{folder / 'collected.jsonl'}: none of {sampled} completions ends and has a reward of at least "
            f"config.collect.threshold={wanted.threshold}: there is nothing to learn from"
        )
    if hosts.is_first():
        write_atomic(folder / "selected.jsonl", "".join(json.dumps(record) + "\n" for record in selected))
        asked = len({record["id"] for record in selected})
        print(f"selected {len(selected)} of {sampled} completions, of {asked} of {len(groups)} questions", flush=True)
    batches = make_batches(
        Examples(len(examples), lambda index, place, step: examples[index]),
        algorithm.batch_size, length, model.pad_id, algorithm.reduction, settings.seed,
    )  # fmt: skip
    fine_tune(settings, begun, batches, len(examples), held_out, rewarder)
