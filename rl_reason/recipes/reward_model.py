"""Training of reward models: of outcomes, of steps, of preferences.

    sample completions of a policy and label them      (recipes.labelling; or a file has them, data.labelled)
    for each step:
        take a batch of labelled completions
        update on their scores                         (objectives.reward_models)

The model is a language model whose last layer gives one score a token; what it starts from may be one of both. At the
end `export/` holds it as a Hugging Face folder, whose `config.json` says by its one label what it was trained for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rl_reason.data import sources
from rl_reason.data.iterators import left_pad, prompt_iterator
from rl_reason.data.labelled import MADE, Encoding, Item, encode_labelled, first_problems, read_labelled
from rl_reason.data.templates import find_template
from rl_reason.errors import UsageError
from rl_reason.models import decoder
from rl_reason.models.flops import BACKWARD
from rl_reason.models.huggingface import source_dtype
from rl_reason.models.weights import Params, cast
from rl_reason.objectives.reward_models import classification_loss, preference_tangents, tangent_loss
from rl_reason.parallel import hosts
from rl_reason.parallel.mesh import make_mesh
from rl_reason.recipes import bookkeeping
from rl_reason.recipes.accumulation import LOADS, Piece, Step, Sums, make_step, rows_at_once
from rl_reason.recipes.checks.reward_model import check_reward_model
from rl_reason.recipes.completions import Batch, Score, completion_scores, completion_states, lay, make_scoring, place
from rl_reason.recipes.evaluation import HeldOut
from rl_reason.recipes.golds import readable
from rl_reason.recipes.judging import hits, make_judge
from rl_reason.recipes.labelling import Sampling, make_labels
from rl_reason.recipes.layout import make_pieces
from rl_reason.recipes.loop import Evaluate, Loop, forward_flops
from rl_reason.recipes.optimizer import TrainState, make_optimizer
from rl_reason.recipes.setup import (
    Model,
    check_length,
    describe_model,
    describe_scorer,
    encode_prompts,
    take_problems,
)
from rl_reason.recipes.state import State, abstract_state, restore_or_start, train_shardings
from rl_reason.rewards.combination import Rewarder
from rl_reason.runtime.metrics import MetricsWriter
from rl_reason.runtime.progress import Progress
from rl_reason.runtime.workdir import Workdir
from rl_reason.settings import Settings

SHOWN = {"loss": "loss", "accuracy": "accuracy", "right": "score/right", "wrong": "score/wrong"}
"""Beside the progress bar: label → metric."""
LABELLED, HELD_OUT = "labelled.jsonl", "held_out.jsonl"
"""In the run's folder, the labels that are made here."""


def run(settings: Settings, workdir_path: str | Path) -> None:
    """Trains as the settings say, in `workdir_path`; resumes what is there.

    `algorithm.batch_size` is the number of completions, or of pairs, of a batch.
    """
    check_reward_model(settings)
    graded = settings.reward_model.labels != "file"
    with Rewarder(settings.reward, settings.judge) if graded else contextlib.nullcontext() as rewarder:
        task = _prepare(settings, rewarder)
        model, algorithm = task.model, settings.algorithm
        workdir = bookkeeping.find_run(workdir_path, settings, model)
        bookkeeping.make_run(workdir, settings, model)
        labelled = task.labelled or _label(settings, task, workdir, rewarder)
    data = prompt_iterator(labelled.train, algorithm.batch_size, settings.seed)

    optimizer = make_optimizer(algorithm, settings.steps)
    abstract = abstract_state(model, optimizer, with_reference=False)
    make_batch = functools.partial(make_labelled_batch, shape=labelled.shape(settings), pad_id=model.pad_id)
    micro_batch, update = make_steps(settings, model, optimizer, abstract)
    start, state, data_state = restore_or_start(abstract, model, optimizer, workdir.checkpoints, settings.seed)
    if data_state:
        data.set_state(data_state)

    with Loop(settings, model, workdir, start, SHOWN) as loop:
        evaluate = _make_evaluate(settings, model, labelled.held_out, make_batch, micro_batch, loop.metrics)
        loop.begin(state, evaluate)

        for step in loop:
            # The batch is made while the update before still runs.
            clock = loop.clock(step)
            batch = make_batch(next(data))
            loop.previous(clock)
            loop.update(clock)
            state["train"], updated, values = update(state["train"], batch)
            epoch = {"data/epoch": step * algorithm.batch_size / len(labelled.train)}
            scored = 1 if settings.reward_model.kind == "preference" else 0
            needed = (1 + BACKWARD + scored) * forward_flops(model.config, batch)
            loop.pend(step, clock, batch, [updated], values | epoch, flops=needed)
            loop.end(step, state, data.get_state(), evaluate)
        dtype = source_dtype(model.config)
        bookkeeping.export_model(workdir.path / "export", model, state["train"].params, dtype)
    bookkeeping.close_run(workdir)


def make_steps(
    settings: Settings, model: Model, optimizer: optax.GradientTransformation, abstract: State
) -> tuple[int, RewardUpdate]:
    """Rows whose activations may exist at the same time, and the update: what is compiled for a run, here or ahead of
    time (`recipes.planning`)."""
    kind = settings.reward_model.kind
    rows = settings.algorithm.batch_size * (2 if kind == "preference" else 1)
    micro_batch = rows_at_once(settings.algorithm.micro_batch, rows)
    return micro_batch, make_reward_update(model, kind, optimizer, train_shardings(abstract, model), micro_batch)


def make_labelled_batch(items: Sequence[Item], shape: tuple[int, int], pad_id: int) -> Batch:
    """The arrays of labelled completions, those of a pair one behind the other.

    Args:
        items: of a batch.
        shape: (P, T), what prompts are padded to on the left and completions on the right.
        pad_id: what they are padded with.

    Returns:
        int32 `tokens`, `segments` [B, P + T], `questions` [B]; float32 `mask`, `targets` and `weights` [B, T]: what is
        said of a token, and 1 where something is.
    """
    flat = [one for item in items for one in item]
    P, T = shape
    prompts_BP, prompt_lengths_B = left_pad([one.prompt_ids for one in flat], P, pad_id)
    tokens_BT = np.full((len(flat), T), pad_id, np.int32)
    targets_BT, weights_BT, mask_BT = np.zeros((3, len(flat), T), np.float32)
    numbers: dict[tuple[int, ...], int] = {}
    for b, one in enumerate(flat):
        tokens_BT[b, : len(one.completion_ids)] = one.completion_ids
        mask_BT[b, : len(one.completion_ids)] = 1
        for end, target in zip(one.ends, one.targets, strict=True):
            if target is not None:
                targets_BT[b, end], weights_BT[b, end] = target, 1
    on_prompt_BP = np.arange(P)[None] >= P - prompt_lengths_B[:, None]
    return {
        "tokens": np.concatenate([prompts_BP, tokens_BT], axis=1),
        "segments": np.concatenate([on_prompt_BP, mask_BT], axis=1).astype(np.int32),
        # Completions of one prompt share its computation.
        "questions": np.array([numbers.setdefault(tuple(one.prompt_ids), len(numbers)) for one in flat], np.int32),
        "mask": mask_BT,
        "targets": targets_BT,
        "weights": weights_BT,
    }


@dataclass(frozen=True)
class RewardUpdate:
    """`update(state, batch) -> (state, metrics, values)`: an optimizer step on a batch of `make_labelled_batch`.

    Takes the state's buffers; the metrics are not waited for, the values are on the host.
    """

    step: Callable[[int], Step]
    """By the most tokens of a prompt and its completion."""
    score: Score
    model: Model
    micro_batch: int
    kind: str

    def __call__(self, state: TrainState, batch: Batch) -> tuple[TrainState, Sums, dict[str, float]]:
        weights_BT, tokens = batch["weights"], float(batch["mask"].sum())
        values: dict[str, float] = {}
        if self.kind == "preference":
            batch, values = with_tangents(batch, self.score(state.policy, batch))
            denominator = len(weights_BT) / 2
        else:
            denominator = float(weights_BT.sum())
        length = batch["tokens"].shape[1]
        layout = lay(batch, self.model, self.micro_batch)
        pieces = place(make_pieces(batch, layout), self.model.mesh)
        state, made = self.step(length)(state, pieces, layout.pieces, denominator, tokens)
        # What is measured was divided by tokens; it shall be a mean over labels.
        right = float((weights_BT * (batch["targets"] >= 0.5)).sum())
        counts = {"accuracy": denominator, "score/right": right, "score/wrong": denominator - right}
        means = {
            name: made[name] * np.float32(tokens / n if n else np.nan) for name, n in counts.items() if name in made
        }
        return state, made | means, values | {"labels/right": right / float(weights_BT.sum())}


def make_reward_update(
    model: Model, kind: str, optimizer: optax.GradientTransformation, places: TrainState, micro_batch: int
) -> RewardUpdate:
    """The update of a reward model of some kind; `micro_batch` as in `completions.make_scoring`."""

    def loss_sum(length: int, params: Params, piece: Piece) -> tuple[jax.Array, Sums]:
        params = cast(params, model.dtype)
        states = completion_states(params, piece, model, length)
        scores = decoder.scores(params, states.own)
        loads = {} if states.loads is None else {LOADS: states.loads}
        if kind == "preference":
            return tangent_loss(scores, piece["at"], piece["values"], piece["slopes"]), loads
        weights, is_right = piece["weights"], piece["targets"] >= 0.5
        loss, _ = classification_loss(scores, piece["targets"], weights)
        probabilities = jax.nn.sigmoid(scores)
        return loss, {
            **loads,
            "accuracy": jnp.sum(weights * ((scores >= 0) == is_right)),
            "score/right": jnp.sum(weights * probabilities * is_right),
            "score/wrong": jnp.sum(weights * probabilities * ~is_right),
        }

    @functools.cache
    def step(length: int) -> Step:
        return make_step(functools.partial(loss_sum, length), optimizer, places, model.mesh)

    return RewardUpdate(step, make_scoring(model, completion_scores, micro_batch), model, micro_batch, kind)


def with_tangents(batch: Batch, scores_BT: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """The batch with `at`, `values`, `slopes` [B, T] of its pairs, and what is measured of them.

    The two sides of a pair may be computed in different rows and pieces: their scores are known beforehand.
    """
    rows, ends = np.nonzero(batch["weights"])
    pairs_N2 = scores_BT[rows, ends].reshape(-1, 2)
    shares_N = batch["targets"][rows, ends].reshape(-1, 2)[:, 0]
    values_N2, slopes_N2 = preference_tangents(*map(jnp.asarray, (pairs_N2[:, 0], pairs_N2[:, 1], shares_N)))
    made = dict(batch)
    for name, x_N2 in (("at", pairs_N2), ("values", values_N2), ("slopes", slopes_N2)):
        made[name] = np.zeros(scores_BT.shape, np.float32)
        made[name][rows, ends] = np.asarray(x_N2).reshape(-1)
    margins = pairs_N2[:, 0] - pairs_N2[:, 1]
    measured = {
        "accuracy": hits(margins, shares_N).mean(),
        "margin": margins.mean(),
        "score/right": pairs_N2[:, 0].mean(),
        "score/wrong": pairs_N2[:, 1].mean(),
    }
    return made, {name: float(value) for name, value in measured.items()}


@dataclass(frozen=True)
class _Labelled:
    """What is learned from, and judged by."""

    train: list[Item]
    held_out: dict[str, list[Item]]
    """By the name of the data set."""

    def shape(self, settings: Settings) -> tuple[int, int]:
        """Tokens of the longest prompt, and of a completion at most."""
        everything = [*self.train, *(item for items in self.held_out.values() for item in items)]
        return max(len(item[0].prompt_ids) for item in everything), settings.sampling.max_length


@dataclass(frozen=True)
class _Task:
    """What is trained, on what: read, encoded and found right."""

    model: Model
    policy: Model
    """What completions are sampled from."""
    encoding: Encoding
    labelled: _Labelled | None
    """None: the labels are yet to be made, of"""
    train: HeldOut | None
    held_out: list[HeldOut]


def _prepare(settings: Settings, rewarder: Rewarder | None) -> _Task:
    """Everything that can be wrong, before anything is compiled or written."""
    learned, data, completion = settings.reward_model, settings.data, settings.sampling.max_length
    template = find_template(data.template)
    from_file = learned.labels == "file"
    problems: Sequence[Mapping] = [] if from_file else sources.load(data.name, data.split, data.dir, settings.seed)
    problems = take_problems(problems, data.problems)
    if not settings.model.path:
        raise UsageError("config.model.path='': expected a model's folder or name, which the reward model starts from")
    sampled = dataclasses.replace(settings.model, path=learned.policy or settings.model.path)
    policy = describe_model(sampled, make_mesh(settings.mesh), lambda: ())
    scorer = describe_scorer(policy, settings.model.path if learned.policy else "", "config.model.path")
    label = {"id2label": {"0": learned.kind}, "label2id": {learned.kind: 0}, "pad_token_id": policy.pad_id}
    hf = {**scorer.config.hf, **label}
    model = dataclasses.replace(scorer, config=dataclasses.replace(scorer.config, hf=hf))
    model.check_files()
    check_length(model, data.max_prompt_length, completion, "config.sampling.max_length")
    separator, rows = settings.reward.step_separator, model.config.vocab_size
    encoding = Encoding(
        model.tokenizer, template, separator, rows, data.max_prompt_length, completion, data.long_prompts == "drop"
    )
    if rewarder is None:
        return _Task(model, policy, encoding, _read(settings, encoding), None, [])
    if not policy.config.hf.get("architectures", ["ForCausalLM"])[0].endswith("ForCausalLM"):
        key = "reward_model.policy" if learned.policy else "model.path"
        raise UsageError(
            f"config.{key}={sampled.path!r}: has no layer that predicts tokens, and completions are to be sampled; "
            "expected a language model"
        )
    policy.check_files()
    if learned.labels == "rollouts":
        # What goes on behind the last step but one may be as long again.
        check_length(policy, data.max_prompt_length + completion, completion, "config.sampling.max_length")
    prompts = encode_prompts(problems, template, model, data.max_prompt_length, data.long_prompts)
    train = readable(rewarder, HeldOut(data.name, problems, prompts), data.unreadable)  # type: ignore[arg-type]
    held_out = bookkeeping.load_held_out(settings, policy, rewarder) if settings.evaluation.samples else []
    return _Task(model, policy, encoding, None, train, held_out)


def _read(settings: Settings, encoding: Encoding) -> _Labelled:
    """The labels of files, or made ones."""
    data, evaluation, learned = settings.data, settings.evaluation, settings.reward_model

    def read(name: str, split: str, key: str) -> list[Item]:
        if name in MADE:
            rows = [(f"{key}={name!r}, {row['id']}", row) for row in MADE[name](split, data.dir, settings.seed)]
            return encode_labelled(rows, name, learned, encoding)
        if not name.endswith(".jsonl"):
            raise UsageError(
                f"{key}={name!r}: expected a file, .jsonl, as config.reward_model.labels='file' says, or labels that "
                f"are made: {', '.join(MADE)}"
            )
        return read_labelled(Path(name).expanduser(), learned, encoding)

    train = [item for name in sources.split_name(data.name) for item in read(name, data.split, "config.data.name")]
    held_out = {}
    for name in sources.split_name(evaluation.name) if evaluation.name else ():
        items = read(name, evaluation.split, "config.evaluation.name")
        held_out[name] = first_problems(items, evaluation.problems)
    return _Labelled(first_problems(train, data.problems), held_out)


def _label(settings: Settings, task: _Task, workdir: Workdir, rewarder: Rewarder | None) -> _Labelled:
    """The labels that are made in the run's folder, or were."""
    assert task.train is not None and rewarder is not None
    params = task.policy.load_params(settings.seed, task.policy.dtype)
    evaluation = settings.evaluation
    train = Sampling(settings.algorithm.group_size, settings.sampling.temperature, settings.sampling.top_p, 0)
    held_out = Sampling(evaluation.samples, evaluation.temperature, evaluation.top_p, 1)
    read = lambda file: read_labelled(file, settings.reward_model, task.encoding)  # noqa: E731
    made = {}
    make = lambda file, data, sampling: make_labels(  # noqa: E731
        file, data, sampling, settings, task.policy, params, rewarder
    )
    make(workdir.path / LABELLED, task.train, train)
    for i, data in enumerate(task.held_out):
        file = workdir.path / (HELD_OUT if i == 0 else f"held_out_{i}.jsonl")
        make(file, data, held_out)
        made[data.name] = read(file)
    return _Labelled(read(workdir.path / LABELLED), made)


def _make_evaluate(
    settings: Settings,
    model: Model,
    held_out: Mapping[str, Sequence[Item]],
    make_batch: Callable[[Sequence[Item]], Batch],
    micro_batch: int,
    metrics: MetricsWriter,
) -> Evaluate:
    """`evaluate(params, step)` writes a record for each data set to eval.jsonl; the accuracy on the first one."""
    judge = make_judge(model, settings.reward_model.kind, make_batch, settings.algorithm.batch_size, micro_batch)

    def evaluate(params: Params, step: int, full: bool) -> float | None:
        scores = []
        for name, items in held_out.items():
            with Progress(len(items), title=f"judge {name}, step {step}", enabled=hosts.is_first()) as progress:
                record = judge(params, items, progress.advance)
            metrics.write_eval({"step": step, "dataset": name, **record})
            scores.append(record["accuracy"])
        return scores[0] if scores else None

    return evaluate
