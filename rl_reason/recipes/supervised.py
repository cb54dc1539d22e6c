"""Next-token training on written-out solutions: supervised fine-tuning, or training from random weights.

    for each step:
        pack examples into rows        (data.supervised)
        update on their targets        (−Σ weights · log π / Σ weights)

An example is a problem with its solution, or a conversation. At the end `export/` holds the model as a Hugging Face
folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from rl_reason.data import sources
from rl_reason.data.solutions import STYLES, check_stages
from rl_reason.data.supervised import Batches, make_batches, make_examples
from rl_reason.data.templates import find_template
from rl_reason.models import decoder, flops
from rl_reason.models.config import ModelConfig
from rl_reason.models.huggingface import source_dtype
from rl_reason.models.logprobs import token_logprobs
from rl_reason.models.weights import Params, cast
from rl_reason.parallel.mesh import make_mesh
from rl_reason.recipes import bookkeeping
from rl_reason.recipes.accumulation import LOADS, Piece, Step, Sums, make_step, rows_at_once
from rl_reason.recipes.checks.supervised import check_supervised
from rl_reason.recipes.completions import place
from rl_reason.recipes.evaluation import HeldOut
from rl_reason.recipes.loop import Loop
from rl_reason.recipes.optimizer import TrainState
from rl_reason.recipes.setup import Model, describe_model
from rl_reason.recipes.state import final_weights
from rl_reason.rewards.combination import Rewarder
from rl_reason.settings import Settings

TOKENIZER_PROBLEMS = 5000
"""Problems, of each source that makes them, whose text a new tokenizer is trained on."""
EVALUATION_ROWS = 1024
SHOWN = {"loss": "loss", "entropy": "entropy", "epoch": "epoch", "tokens/s": "tokens/s"}
"""Beside the progress bar: label → metric."""


def make_supervised_step(model: Model, optimizer: optax.GradientTransformation, places: TrainState) -> Step:
    """The step of −Σ weights · log π over pieces of batches as `data.supervised.make_batches` makes them."""

    def loss_sum(params: Params, piece: Piece) -> tuple[jax.Array, Sums]:
        logprobs, entropies, loads = row_logprobs(model, params, piece)
        sums = {"entropy": jnp.sum((piece["weights"] > 0) * entropies)}
        return -jnp.sum(piece["weights"] * logprobs), sums if loads is None else sums | {LOADS: loads}

    return make_step(loss_sum, optimizer, places, model.mesh)


def row_logprobs(model: Model, params: Params, piece: Piece) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """log π and entropy of each token of rows, float32 [rows, T], and the loads of experts, where there are some."""
    params = cast(params, model.dtype)
    states = decoder.states(
        params,
        piece["tokens"],
        piece["segments"],
        None,
        model.config,
        model.remat,
        model.constrain,
        model.attention,
    )
    logprobs, entropies = token_logprobs(
        states.before,
        decoder.head_weights(params),
        piece["tokens"],
        chunk=model.logprob_chunk,
        constrain=model.constrain,
        softcap=model.config.final_softcap,
    )
    return logprobs, entropies, states.loads


def update(
    step: Step, state: TrainState, batch: Mapping[str, np.ndarray], micro_batch: int, mesh: Mesh
) -> tuple[TrainState, Sums]:
    """A step on a batch, `micro_batch` rows at a time (0: all), a divisor of the batch's."""
    at_once = rows_at_once(micro_batch, len(batch["tokens"]))
    pieces = {name: x.reshape(-1, at_once, *x.shape[1:]) for name, x in batch.items()}
    denominator = float(batch["weights"].sum(dtype=np.float64))
    return step(state, place(pieces, mesh), len(pieces["tokens"]), denominator, float((batch["weights"] > 0).sum()))


def packed_flops(config: ModelConfig, batch: Mapping[str, np.ndarray]) -> float:
    """What one pass over the texts of a batch needs; of the logits, those of the tokens that count."""
    segments_BT = batch["segments"]
    number_BT = np.arange(len(segments_BT))[:, None] * (segments_BT.max() + 1) + segments_BT
    is_token_BT = segments_BT > 0
    lengths_S = np.bincount(number_BT[is_token_BT])
    counted_S = np.bincount(number_BT[is_token_BT & (batch["weights"] > 0)], minlength=len(lengths_S))
    return flops.forward(config, lengths_S - counted_S, lengths_S - counted_S, counted_S)


def row_length(settings: Settings) -> tuple[str, int]:
    """Tokens of a row, and the key that says so."""
    if settings.data.row_length:
        return "config.data.row_length", settings.data.row_length
    return "config.sampling.max_length", settings.sampling.max_length


def run(settings: Settings, workdir_path: str | Path) -> None:
    """Trains as the settings say, in `workdir_path`; resumes what is there.

    `algorithm.batch_size` is the number of rows of a batch.
    """
    check_supervised(settings)
    algorithm, data = settings.algorithm, settings.data
    check_stages(data.solutions)
    mesh = make_mesh(settings.mesh)
    template = find_template(data.template)
    source = sources.load(data.name, data.split, data.dir, settings.seed, chat=True)
    problems = source if source.is_made and not data.problems else source[: data.problems or len(source)]
    styles = sorted({style for _, mixture in data.solutions for style, _ in mixture})

    def texts() -> Iterator[str]:
        whole = isinstance(problems, sources.Problems)
        for problem in problems.first_of_each(TOKENIZER_PROBLEMS) if whole else problems[:TOKENIZER_PROBLEMS]:
            yield from (message["content"] for message in problem.get("messages", ()))
            if "messages" not in problem:
                yield problem["problem"]
                yield from (STYLES[style](problem) for style in styles)

    model = describe_model(settings.model, mesh, texts)
    model.check_files()
    key, length = row_length(settings)
    examples = make_examples(
        problems, data.solutions, template, model.tokenizer, model.stop_ids, length, key, data.long_prompts,
        settings.seed,
    )  # fmt: skip
    batches = make_batches(
        examples, algorithm.batch_size, length, model.pad_id, algorithm.reduction, settings.seed
    )  # fmt: skip
    batches(1, 0)  # Of problems that are made, a row too short for the first is told before anything is written.
    with Rewarder(settings.reward, settings.judge) as rewarder:
        held_out = bookkeeping.load_held_out(settings, model, rewarder)
        begun = bookkeeping.begin(settings, model, workdir_path, make_supervised_step)
        fine_tune(settings, begun, batches, examples.count, held_out, rewarder)


def fine_tune(
    settings: Settings,
    begun: bookkeeping.Begun,
    batches: Batches,
    count: int,
    held_out: Sequence[HeldOut],
    rewarder: Rewarder,
) -> None:
    """The loop over batches of `count` examples, with its evaluations and checkpoints; then `export/`."""
    model, workdir, start, state = begun.model, begun.workdir, begun.start, begun.state
    algorithm = settings.algorithm
    taken = begun.position.get("taken", 0)
    with Loop(settings, model, workdir, start, SHOWN) as loop:
        evaluate = bookkeeping.make_evaluate(
            settings, model, held_out, rewarder, loop, settings.sampling.max_length, EVALUATION_ROWS
        )
        loop.begin(state, evaluate)

        for step in loop:
            # The batch is made while the update before still runs.
            clock = loop.clock(step)
            batch, taken = batches(step, taken)
            loop.previous(clock)
            loop.update(clock)
            state["train"], updated = update(begun.step, state["train"], batch, algorithm.micro_batch, model.mesh)
            needed = (1 + flops.BACKWARD) * packed_flops(model.config, batch)
            loop.pend(step, clock, batch, [updated], {"epoch": taken / count}, flops=needed)
            loop.end(step, state, {"taken": taken}, evaluate)
        weights = final_weights(model, state["train"].params, settings.seed)
        bookkeeping.export_model(workdir.path / "export", model, weights, source_dtype(model.config))
    bookkeeping.close_run(workdir)
