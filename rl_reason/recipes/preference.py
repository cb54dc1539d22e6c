"""Direct preference optimization: arXiv 2305.18290, and with 1/|o| as DeepSeekMath (arXiv 2402.03300, A.1.4) writes it.

    pairs of a file, or of right and wrong samples of the policy as it starts    (data.preferences, collecting)
    for each step:
        log π and log π_ref of both completions of each pair                     (completions)
        dL/d log π of each token                                                 (objectives.preference)
        update by Σ dL/d log π · ∇ log π                                         (accumulation)

The two completions of a pair meet in its loss, and need not lie in the same rows or pieces: given dL/d log π, which the
first pass tells, the second is a sum over tokens. Its gradient is the loss's own.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rl_reason.data.iterators import padded_length, prompt_iterator
from rl_reason.data.preferences import Pair, pair_records, read_preferences
from rl_reason.errors import RunError, UsageError
from rl_reason.models.flops import BACKWARD
from rl_reason.models.huggingface import source_dtype
from rl_reason.models.weights import Params, cast
from rl_reason.objectives.preference import completion_margins, preference_losses
from rl_reason.parallel import hosts
from rl_reason.parallel.mesh import make_mesh
from rl_reason.recipes import bookkeeping
from rl_reason.recipes.accumulation import LOADS, Piece, Step, Sums, make_step, rows_at_once
from rl_reason.recipes.checks.preference import check_preference
from rl_reason.recipes.collecting import ROWS, collect, encode_questions, load_questions
from rl_reason.recipes.completions import Batch, Score, completion_logprobs, completion_states, lay, make_score, place
from rl_reason.recipes.evaluation import HeldOut, Samples
from rl_reason.recipes.golds import readable
from rl_reason.recipes.layout import make_pieces
from rl_reason.recipes.loop import Loop, forward_flops
from rl_reason.recipes.optimizer import TrainState
from rl_reason.recipes.rollout import make_batch
from rl_reason.recipes.setup import Model, describe_model
from rl_reason.recipes.state import final_weights, reference_of
from rl_reason.rewards.combination import Rewarder
from rl_reason.runtime.workdir import write_atomic
from rl_reason.settings import Settings

log = logging.getLogger(__name__)
SHOWN = {"loss": "loss", "margin": "preference/margin", "accuracy": "preference/accuracy", "tokens/s": "tokens/s"}
"""Beside the progress bar: label → metric."""


def run(settings: Settings, workdir_path: str | Path) -> None:
    """Trains as the settings say, in `workdir_path`; resumes what is there.

    Raises:
        RunError: fewer pairs were sampled than a step takes.
    """
    check_preference(settings)
    with Rewarder(settings.reward, settings.judge) as rewarder:
        _run(settings, workdir_path, rewarder)


def _run(settings: Settings, workdir_path: str | Path, rewarder: Rewarder) -> None:
    algorithm, file = settings.algorithm, settings.preference.pairs
    rows = read_preferences(Path(file).expanduser()) if file else load_questions(settings)
    model = describe_model(settings.model, make_mesh(settings.mesh), lambda: (row["problem"] for row in rows))
    model.check_files()
    questions = encode_questions(settings, model, rows)
    if not file:  # Pairs are not graded.
        questions = readable(rewarder, questions, settings.data.unreadable)
    pairs = _encode_pairs(settings, model, questions) if file else []
    if file and len(pairs) < algorithm.batch_size:
        raise UsageError(
            f"config.algorithm.batch_size={algorithm.batch_size}: config.preference.pairs={file!r} has {len(pairs)} "
            "pairs; expected at most as many"
        )
    held_out = bookkeeping.load_held_out(settings, model, rewarder)
    begun = bookkeeping.begin(settings, model, workdir_path, functools.partial(make_update, settings))
    if not file:
        pairs = _sample_pairs(settings, begun, questions, rewarder)
    _train(settings, begun, pairs, held_out, rewarder)


def _encode_pairs(settings: Settings, model: Model, questions: HeldOut) -> list[Pair]:
    """The pairs of a file, whose prompts are encoded."""
    limit = settings.sampling.max_length
    pairs = []
    for prompt in questions.prompts:
        row = questions.problems[prompt.index]
        texts = (row["chosen"], row["rejected"])
        chosen, rejected = (
            [*model.tokenizer(text, add_special_tokens=False)["input_ids"], model.tokenizer.eos_token_id]
            for text in texts
        )
        if chosen == rejected:
            raise UsageError(
                f"config.preference.pairs: pair {row['id']!r}: `chosen` and `rejected` are the same tokens; expected "
                "two that differ"
            )
        longest = max(len(chosen), len(rejected))
        if longest <= limit:
            pairs.append(Pair(prompt, chosen, rejected))
        elif settings.data.long_prompts == "error":
            raise UsageError(
                f"config.sampling.max_length={limit}: pair {row['id']!r} has a completion of {longest} tokens; "
                "expected a larger limit, or config.data.long_prompts='drop'"
            )
    dropped = len(questions.prompts) - len(pairs)
    if dropped:
        log.warning("dropped %d of %d pairs longer than %d tokens", dropped, len(questions.prompts), limit)
    return pairs


def _sample_pairs(settings: Settings, begun: bookkeeping.Begun, questions: HeldOut, rewarder: Rewarder) -> list[Pair]:
    """Pairs of what the policy samples as it starts; `pairs.jsonl` lists them."""
    wanted, folder = settings.collect, begun.workdir.path
    groups = collect(settings, begun.model, begun.start_policy, questions, rewarder, folder / "collected.jsonl")
    pairs, lines = [], []
    for prompt, records in zip(questions.prompts, groups, strict=True):
        problem = questions.problems[prompt.index]
        for chosen, rejected in pair_records(records, wanted.threshold, settings.preference.most):
            pairs.append(Pair(prompt, chosen["tokens"], rejected["tokens"]))
            texts = {"chosen": chosen["completion"], "rejected": rejected["completion"]}
            samples = {"samples": [chosen["sample"], rejected["sample"]]}
            lines.append({"id": problem["id"], "problem": problem["problem"], **texts, **samples})
    if hosts.is_first():
        write_atomic(folder / "pairs.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        asked = len({pair.prompt.index for pair in pairs})
        print(
            f"{len(pairs)} pairs of a right and a wrong completion, of {asked} of {len(groups)} questions", flush=True
        )
    if len(pairs) < settings.algorithm.batch_size:
        raise RunError(
            f"{folder / 'collected.jsonl'}: {len(pairs)} pairs of a right and a wrong completion; a step takes "
            f"config.algorithm.batch_size={settings.algorithm.batch_size}"
        )
    return pairs


def _train(
    settings: Settings, begun: bookkeeping.Begun, pairs: Sequence[Pair], held_out: Sequence[HeldOut], rewarder: Rewarder
) -> None:
    model, workdir, start, state = begun.model, begun.workdir, begun.start, begun.state
    update: Update = begun.step
    data = prompt_iterator(pairs, settings.algorithm.batch_size, settings.seed)
    if begun.position:
        data.set_state(begun.position)
    longest_prompt = max(len(pair.prompt.prompt_ids) for pair in pairs)
    with Loop(settings, model, workdir, start, SHOWN) as loop:
        evaluate = bookkeeping.make_evaluate(
            settings, model, held_out, rewarder, loop, settings.sampling.max_length,
            settings.sampling.batch_size or ROWS,
        )  # fmt: skip
        loop.begin(state, evaluate)

        for step in loop:
            clock = loop.clock(step)
            of_step = next(data)
            prompt_length = padded_length([pair.prompt for pair in of_step], longest_prompt)
            batch = make_pair_batch(of_step, prompt_length, settings.sampling.max_length, model.pad_id)
            loop.previous(clock)
            loop.update(clock)
            state["train"], updated = update(state["train"], reference_of(state), batch)
            # The reference's pass, the policy's, and that by which the batch is weighed.
            needed = (3 + BACKWARD) * forward_flops(model.config, batch)
            loop.pend(step, clock, batch, [updated], {}, flops=needed)
            loop.end(step, state, data.get_state(), evaluate)
        weights = final_weights(model, state["train"].params, settings.seed)
        bookkeeping.export_model(workdir.path / "export", model, weights, source_dtype(model.config))
    bookkeeping.close_run(workdir)


def make_pair_batch(pairs: Sequence[Pair], prompt_length: int, length: int, pad_id: int) -> Batch:
    """As `rollout.make_batch`, with a chosen and a rejected completion of each question, in this order."""
    completions = [ids for pair in pairs for ids in (pair.chosen, pair.rejected)]
    lengths = np.array([len(ids) for ids in completions], np.int32)
    tokens = np.full((len(completions), length), pad_id, np.int32)
    for row, ids in zip(tokens, completions, strict=True):
        row[: len(ids)] = ids
    samples = Samples(tokens, np.zeros(tokens.shape, np.float32), lengths, np.ones(len(lengths), bool))
    batch = make_batch([pair.prompt for pair in pairs], samples, 2, prompt_length, pad_id)
    return {name: x for name, x in batch.items() if name != "sampler_logprobs"}  # nobody sampled them just now


@dataclass(frozen=True)
class Update:
    """`update(state, reference, batch) -> (state, metrics)`: one optimizer step on a batch of `make_pair_batch`. Takes
    the state's buffers."""

    score: Score
    step: Callable[[int], Step]
    """By the most tokens of a prompt and its completion."""
    model: Model
    micro_batch: int
    beta: float
    reduction: str

    def __call__(self, state: TrainState, reference: Params, batch: Batch) -> tuple[TrainState, Sums]:
        coefficients, metrics = self.coefficients(state.policy, reference, batch)
        layout = lay(batch, self.model, self.micro_batch)
        pieces = place(make_pieces({**batch, "coefficients": coefficients}, layout), self.model.mesh)
        step = self.step(batch["tokens"].shape[1])
        state, made = step(state, pieces, layout.pieces, 1.0, float(batch["mask"].sum()))
        return state, made | metrics  # The loss of the second pass is no loss: it has only its gradient.

    def coefficients(self, policy: Params, reference: Params, batch: Batch) -> tuple[np.ndarray, Sums]:
        """dL/d log π of each token, float32 [B, T], L the mean over pairs; and what is measured of the pairs."""
        begun = self.score.begin(policy, batch), self.score.begin(reference, batch)
        logprobs_BT, reference_BT = (jnp.asarray(wait()) for wait in begun)
        margins_B, slopes_BT = completion_margins(logprobs_BT, reference_BT, jnp.asarray(batch["mask"]), self.reduction)
        loss, of_margins_B = jax.value_and_grad(lambda m: jnp.mean(preference_losses(m, self.beta)))(margins_B)
        ahead_P = self.beta * (margins_B[0::2] - margins_B[1::2])
        totals_B = jnp.sum(logprobs_BT, axis=1)
        metrics = {
            "loss": loss,
            "preference/margin": jnp.mean(ahead_P),
            "preference/accuracy": jnp.mean(ahead_P > 0),
            "logprobs/chosen": jnp.mean(totals_B[0::2]),
            "logprobs/rejected": jnp.mean(totals_B[1::2]),
        }
        return np.asarray(of_margins_B[:, None] * slopes_BT), metrics


def make_update(
    settings: Settings, model: Model, optimizer: optax.GradientTransformation, places: TrainState
) -> Update:
    """The update of a policy on pairs; `places` says where the state lies."""
    algorithm = settings.algorithm

    def loss_sum(length: int, params: Params, piece: Piece) -> tuple[jax.Array, Sums]:
        params = cast(params, model.dtype)
        states = completion_states(params, piece, model, length)
        logprobs, entropies = completion_logprobs(params, states, piece, model, 1.0)
        sums = {"entropy": jnp.sum(piece["mask"] * entropies)}
        loads = {} if states.loads is None else {LOADS: states.loads}
        return jnp.sum(piece["coefficients"] * logprobs), sums | loads

    @functools.cache
    def step(length: int) -> Step:
        return make_step(functools.partial(loss_sum, length), optimizer, places, model.mesh)

    micro_batch = rows_at_once(algorithm.micro_batch, 2 * algorithm.batch_size)
    score = make_score(model, 1.0, micro_batch)
    return Update(score, step, model, micro_batch, settings.preference.beta, algorithm.reduction)
