"""Training the reward model on, between the outer iterations of GRPO (DeepSeekMath, arXiv 2402.03300, section 4.1.4).

What it learns from are the completions of the iteration, judged by the rules, and a share of those of earlier
iterations, the replay. They are kept in a file of the run, a line a question, so that a run that is resumed learns from
the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from rl_reason.data.iterators import EncodedPrompt
from rl_reason.data.labelled import Item, Judged
from rl_reason.errors import UsageError
from rl_reason.parallel import hosts
from rl_reason.recipes.exploration import Exploration
from rl_reason.recipes.learned_rewards import kind_of
from rl_reason.recipes.optimizer import TrainState
from rl_reason.recipes.reward_model import make_labelled_batch, make_reward_update
from rl_reason.recipes.setup import Model
from rl_reason.recipes.state import Learner
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.settings import Settings

FILE = "judged.jsonl"
"""In the run's folder."""

Retrain = Callable[[TrainState, int], tuple[TrainState, dict[str, float]]]
"""(state of the reward model, step) → the state at the end of this outer iteration, and metrics."""


def judged_records(step: int, drawn: Exploration) -> Iterator[dict]:
    """A line a question: the number of its problem, its completions' tokens, and which of them are right; None where
    a reward failed."""
    rows, group = drawn.samples.rows(), drawn.group_size
    failed = {failure["index"] for failure in drawn.graded.failures}
    correct = [None if row in failed else verdict == "correct" for row, verdict in enumerate(drawn.graded.verdicts)]
    for q, prompt in enumerate(drawn.asked):
        of_question = slice(q * group, (q + 1) * group)
        yield {"step": step, "index": prompt.index, "completions": rows[of_question], "correct": correct[of_question]}


def check_kind(model: Model, settings: Settings) -> None:
    """Raises `UsageError` unless the model judges outcomes: what the rules say of an iteration's completions are labels
    of whole completions, neither of steps nor of pairs."""
    kind = kind_of(model.config)
    if kind != "outcome":
        raise UsageError(
            f"config.retraining.steps={settings.retraining.steps}: config.reward.model={settings.reward.model!r} was "
            f"trained for {kind}; expected one for outcome"
        )


def make_retrain(
    settings: Settings,
    learner: Learner,
    places: TrainState,
    prompts: Sequence[EncodedPrompt],
    prompt_length: int,
    file: Path,
    micro_batch: int,
) -> Retrain:
    """The training at the end of an outer iteration, of `algorithm.reference_every` steps.

    Args:
        settings: of the run.
        learner: the reward model and its optimizer.
        places: where its state lies.
        prompts: of the problems that are trained on.
        prompt_length: of the longest.
        file: of `judged_records`.
        micro_batch: as in `completions.make_scoring`.
    """
    retraining, (model, optimizer) = settings.retraining, learner
    update = make_reward_update(model, kind_of(model.config), optimizer, places, micro_batch)
    prompt_ids = {prompt.index: prompt.prompt_ids for prompt in prompts}
    shape = (prompt_length, settings.sampling.max_length)

    def retrain(state: TrainState, step: int) -> tuple[TrainState, dict[str, float]]:
        hosts.wait("judged completions: written")
        begins = step - settings.algorithm.reference_every
        fresh, earlier = _items(file, prompt_ids, begins, step)
        made: list[dict[str, float]] = []
        drawn = draw_batches(len(fresh), len(earlier), retraining.batch_size, retraining.replay, (settings.seed, step))
        for _, (of_fresh, of_earlier) in zip(range(retraining.steps), drawn, strict=False):
            items = [*(fresh[i] for i in of_fresh), *(earlier[i] for i in of_earlier)]
            state, metrics, _ = update(state, make_labelled_batch(items, shape, model.pad_id))
            made.append({name: float(hosts.fetch(metrics[name])) for name in ("loss", "accuracy")})
        means = {f"reward_model/{name}": float(np.mean([one[name] for one in made])) for name in made[0]}
        return state, means | {"reward_model/accuracy_before": made[0]["accuracy"], "reward_model/fresh": len(fresh)}

    return retrain


def draw_batches(
    fresh: int, earlier: int, size: int, replay: float, seed: Sequence[int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches without end: numbers of fresh completions and of earlier ones, of which each comes once before any comes
    again. While there are no earlier ones, all are fresh."""
    rng = np.random.default_rng(seed)
    replayed = round(replay * size) if earlier else 0
    orders = [_shuffled(fresh, rng), _shuffled(earlier, rng)]
    while True:
        parts = [[next(order) for _ in range(n)] for order, n in zip(orders, (size - replayed, replayed), strict=True)]
        yield np.array(parts[0], int), np.array(parts[1], int)


def _shuffled(count: int, rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(count).tolist()


def _items(file: Path, prompt_ids: Mapping[int, list[int]], begins: int, ends: int) -> tuple[list[Item], list[Item]]:
    """The completions of the steps after `begins`, up to `ends`, and those before."""
    fresh: list[Item] = []
    earlier: list[Item] = []
    for row in read_jsonl(file):
        into = earlier if row["step"] <= begins else fresh
        for tokens, correct in zip(row["completions"], row["correct"], strict=True):
            prompt = prompt_ids[row["index"]]
            if row["step"] <= ends and correct is not None:
                into.append((Judged("", prompt, tokens, [len(tokens) - 1], [float(correct)], correct),))
    return fresh, earlier
