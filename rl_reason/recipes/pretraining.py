"""Continued pretraining on a mixture of documents, as Minerva was made (arXiv 2206.14858, section 2).

    for each step:
        take rows of documents, each source by its weight      (data.mixing)
        update on their tokens                                 (−Σ log π / tokens)

Evaluations measure the perplexity of held-out documents by source, and sample held-out problems, as a rule behind a few
worked ones. At the end `export/` holds the model as a Hugging Face folder.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from rl_reason.data import documents
from rl_reason.data.documents import Documents
from rl_reason.data.mixing import Encode, MixedRows, held_out_rows
from rl_reason.errors import UsageError
from rl_reason.models import flops
from rl_reason.models.huggingface import source_dtype
from rl_reason.models.weights import Params
from rl_reason.parallel import hosts
from rl_reason.parallel.mesh import make_mesh
from rl_reason.recipes import bookkeeping
from rl_reason.recipes.accumulation import rows_at_once
from rl_reason.recipes.checks.pretraining import check_pretraining
from rl_reason.recipes.evaluation import HeldOut
from rl_reason.recipes.loop import Evaluate, Loop
from rl_reason.recipes.perplexity import HeldOutDocuments, make_measure
from rl_reason.recipes.setup import Model, check_length, describe_model
from rl_reason.recipes.state import final_weights
from rl_reason.recipes.supervised import EVALUATION_ROWS, TOKENIZER_PROBLEMS, make_supervised_step, packed_flops, update
from rl_reason.rewards.combination import Rewarder
from rl_reason.runtime.progress import Progress
from rl_reason.runtime.workdir import Workdir, write_atomic
from rl_reason.settings import Settings

log = logging.getLogger(__name__)
SHOWN = {"loss": "loss", "entropy": "entropy", "tokens/s": "tokens/s"}
"""Beside the progress bar: label → metric."""
UNREADABLE = "unreadable.jsonl"
"""In the run's folder: the documents that were left out, and why."""


def run(settings: Settings, workdir_path: str | Path) -> None:
    """Trains as the settings say, in `workdir_path`; resumes what is there.

    `algorithm.batch_size` is the number of rows of a batch.
    """
    check_pretraining(settings)
    wanted, seed, length = settings.documents, settings.seed, settings.data.row_length
    sources = [(_load(settings, name, settings.data.split, "sources"), weight) for name, weight in wanted.sources]
    of_files = {source.name: source for source, _ in sources if not source.is_made}
    held_out_sources = [
        of_files.get(name) or _load(settings, name, settings.evaluation.split, "held_out") for name in wanted.held_out
    ]

    def texts() -> Iterator[str]:
        for source, _ in sources:
            yield from (source[i] for i in range(min(len(source), TOKENIZER_PROBLEMS)))

    model = describe_model(settings.model, make_mesh(settings.mesh), texts)
    model.check_files()
    check_length(model, 0, length, "config.data.row_length")
    encode = make_encode(model)
    count = wanted.held_out_documents
    measured = [_encode_held_out(source, count, encode, length, model) for source in held_out_sources]
    data = MixedRows(sources, encode, settings.algorithm.batch_size, length, wanted.boundaries, seed)
    with Rewarder(settings.reward, settings.judge) as rewarder:
        held_out = bookkeeping.load_held_out(settings, model, rewarder) if settings.evaluation.name else []
        begun = bookkeeping.begin(settings, model, workdir_path, make_supervised_step)
        if begun.position:
            data.set_state(begun.position)
        _tell_unreadable(begun.workdir, [*(source for source, _ in sources), *held_out_sources])
        _train(settings, begun, data, measured, held_out, rewarder)


def _train(
    settings: Settings,
    begun: bookkeeping.Begun,
    data: MixedRows,
    measured: Sequence[HeldOutDocuments],
    held_out: Sequence[HeldOut],
    rewarder: Rewarder,
) -> None:
    model, state, micro_batch = begun.model, begun.state, settings.algorithm.micro_batch
    names = [name for name, _ in settings.documents.sources]
    with Loop(settings, model, begun.workdir, begun.start, SHOWN) as loop:
        evaluate = _make_evaluate(settings, model, measured, held_out, rewarder, loop)
        loop.begin(state, evaluate)

        for step in loop:
            # The batch is made while the update before still runs.
            clock = loop.clock(step)
            batch = next(data)
            of_rows = batch.pop("source")
            loop.previous(clock)
            loop.update(clock)
            state["train"], updated = update(begun.step, state["train"], batch, micro_batch, model.mesh)
            needed = (1 + flops.BACKWARD) * packed_flops(model.config, batch)
            shares = np.bincount(of_rows, minlength=len(names)) / len(of_rows)
            values = {f"share/{name}": float(share) for name, share in zip(names, shares, strict=True)}
            loop.pend(step, clock, batch, [updated], values, flops=needed)
            loop.end(step, state, data.get_state(), evaluate)
        weights = final_weights(model, state["train"].params, settings.seed)
        bookkeeping.export_model(begun.workdir.path / "export", model, weights, source_dtype(model.config))
    bookkeeping.close_run(begun.workdir)


def make_encode(model: Model) -> Encode:
    """A document's tokens: with the tokenizer's own beginning, where it has one, and an end-of-sequence token."""
    tokenizer = model.tokenizer

    def encode(text: str) -> list[int]:
        ids = list(tokenizer(text)["input_ids"])
        if not ids or ids[-1] != tokenizer.eos_token_id:
            ids.append(tokenizer.eos_token_id)
        return ids

    return encode


def _load(settings: Settings, name: str, split: str, key: str) -> Documents:
    unreadable, place = settings.documents.unreadable, f"config.documents.{key}"
    return documents.load(name, split, settings.data.dir, settings.seed, unreadable, place, hosts.is_first())


def _encode_held_out(source: Documents, count: int, encode: Encode, length: int, model: Model) -> HeldOutDocuments:
    texts = [source[i] for i in range(min(count or len(source), len(source)))]
    rows = held_out_rows(texts, encode, length, model.pad_id)
    if not rows["weights"].any():
        raise UsageError(f"config.documents.held_out: {source.name!r}: has no token that another one predicts")
    return HeldOutDocuments(source.name, len(texts), sum(len(text.encode()) for text in texts), rows)


def _tell_unreadable(workdir: Workdir, sources: Sequence[Documents]) -> None:
    """Lists what was left out, and counts it by source; one that is trained on and held out is told of once."""
    each = {source.name: source for source in sources}.values()
    left_out = [one for source in each for one in source.unreadable]
    for source in each:
        if source.unreadable:
            count = len(source.unreadable)
            log.warning("%s: left out %d of %d documents (%s)", source.name, count, count + len(source), UNREADABLE)
    if left_out and hosts.is_first():
        write_atomic(workdir.path / UNREADABLE, "".join(json.dumps(one) + "\n" for one in left_out))


def _make_evaluate(
    settings: Settings,
    model: Model,
    measured: Sequence[HeldOutDocuments],
    held_out: Sequence[HeldOut],
    rewarder: Rewarder,
    loop: Loop,
) -> Evaluate:
    """`evaluate(params, step, full)` writes records to eval.jsonl: of documents their perplexity, of problems what
    `bookkeeping.make_evaluate` says. The score is that of the problems; where there are none, of the first documents
    the mean log-probability."""
    of_problems = bookkeeping.make_evaluate(
        settings, model, held_out, rewarder, loop, settings.sampling.max_length, EVALUATION_ROWS
    )
    measure = make_measure(model, rows_at_once(settings.algorithm.micro_batch, settings.algorithm.batch_size))

    def evaluate(params: Params, step: int, full: bool) -> float | None:
        records: list[Mapping] = []
        for one in measured:
            title = f"perplexity of {one.name}, step {step}"
            with Progress(len(one.rows["tokens"]), title=title, enabled=hosts.is_first()) as progress:
                records.append(measure(params, one, progress.advance))
            loop.metrics.write_eval({"step": step, "dataset": one.name, **records[-1]})
            loop.give_way()
        score = of_problems(params, step, full)
        return score if score is not None or not records else -float(np.log(records[0]["perplexity"]))

    return evaluate
