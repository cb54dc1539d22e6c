"""Held-out problems, each solved by a search over steps that a reward model guides (`sampling.search`).

Steps end where `data.steps` says: at a token that holds the separator. The policy draws until such a token, or the end;
a reward model of steps, or of outcomes, says what the solution so far is worth.

Why there is no `mctx` here: it searches over a fixed set of actions with a model that is a jitted function from one
state of fixed shape to the next. A step is a text; what can follow is drawn, not listed, and to draw it takes a loop
over tokens with a cache. Beside that loop the tree costs nothing, so it stands on the host, where it is ordinary code,
and what all trees ask for is drawn as one batch.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np

from rl_reason.data.iterators import EncodedPrompt, padded_length
from rl_reason.data.steps import make_step_ends, separator_tokens
from rl_reason.data.tokenization import decode
from rl_reason.errors import RunError, UsageError
from rl_reason.models.weights import Params
from rl_reason.recipes.evaluation import Completed, HeldOut, Samples, grade_records, start_sampling, to_host
from rl_reason.recipes.learned_rewards import RewardModel, make_reward_model
from rl_reason.recipes.rollout import make_batch
from rl_reason.recipes.setup import Model
from rl_reason.rewards.combination import Rewarder
from rl_reason.rewards.estimators import ballots, leaders
from rl_reason.sampling import search
from rl_reason.sampling.sampler import Moved, Sampler, make_sampler
from rl_reason.sampling.search import Expand, Outcome, Prefix, Score, Search, Step
from rl_reason.settings import Reward

FEWER, LEAST_ROWS = 8, 8
"""Rows of a call are the most that there may be, an eighth of them, a 64th, …, at least eight: each number of them is
compiled."""

Parents = Sequence[tuple[int, Prefix]]
"""Problems and prefixes."""


def make_expand(
    model: Model,
    params: Params,
    prompts: Sequence[EncodedPrompt],
    *,
    separator: str,
    temperature: float,
    top_p: float,
    max_length: int,
    rows: int,
    seed: int,
) -> Expand:
    """What draws steps behind prefixes; problems are places in `prompts`.

    A sample depends on the seed, its problem and the path to it, and on nothing else that is drawn with it.

    Args:
        model: the policy.
        params: its weights.
        prompts: of the problems.
        separator: what ends a step.
        temperature: more than 0: of equal samples one is kept.
        top_p: see `sampling.logits`.
        max_length: tokens of a solution. What is drawn beyond is cut off, and not counted.
        rows: samples that are drawn at the same time, at most.
        seed: of the sampling.

    Raises:
        UsageError: no token of the model holds the separator.
    """
    stops = separator_tokens(model.tokenizer, separator)
    if not stops:
        raise UsageError(
            f"config.reward.step_separator={separator!r}: no token of the model holds it; expected one that does"
        )
    longest = max(len(prompt.prompt_ids) for prompt in prompts) + max_length
    key = jax.random.key(seed)

    @functools.cache
    def sampler(count: int, to_end: bool) -> tuple[Sampler, Moved]:
        made = make_sampler(
            model.config,
            group_size=count,
            max_length=max_length,
            stop_ids=model.stop_ids if to_end else tuple(dict.fromkeys((*model.stop_ids, *stops))),
            pad_id=model.pad_id,
            temperature=temperature,
            top_p=top_p,
            dtype=model.dtype,
            constrain=model.constrain,
            decoding=model.decoding,
        )
        # Steps are short: to put those together that go on would gain less than it takes to compile.
        return (made if to_end else dataclasses.replace(made, least_multiple=rows)), made.move(params)

    def expand(parents: Parents, count: int, to_end: bool) -> list[list[Step]]:
        one, weights = sampler(count, to_end)
        steps: list[list[Step]] = []
        for chunk, size in _chunks(parents, max(rows // count, 1)):
            asked = [
                EncodedPrompt(
                    _number(prompts[problem].index, prefix.path, to_end), [*prompts[problem].prompt_ids, *prefix.tokens]
                )
                for problem, prefix in chunk
            ]
            filled = asked + asked[:1] * (size - len(asked))
            made = to_host([start_sampling(one, model, weights, filled, padded_length(filled, longest), key)])
            for i, (_, prefix) in enumerate(chunk):
                room = max_length - len(prefix.tokens)
                steps.append([_step(made, row, room, model.stop_ids) for row in range(i * count, (i + 1) * count)])
        return steps

    return expand


def make_score(
    reward: Reward, model: Model, params: Params, prompts: Sequence[EncodedPrompt], *, max_length: int, rows: int
) -> Score:
    """What says, between 0 and 1, what prefixes are worth; problems are places in `prompts`.

    Of a process model it is the probabilities of the steps so far, as `reward.aggregation` puts them together, of an
    outcome model what it says at the last token: it has learned to say so of a solution's beginning only if it was told
    at every token (`config.reward_model.every_token`).

    Args:
        reward: `model`, `aggregation` and `step_separator`.
        model: as `learned_rewards.describe_reward_model` gives it.
        params: its weights.
        prompts: of the problems.
        max_length: tokens of a solution.
        rows: prefixes that are scored at the same time, at most.

    Raises:
        UsageError: the model's scores are no probabilities.
        RunError: a score is no number.
    """
    reward_model: RewardModel = make_reward_model(reward, model, 0)
    if reward_model.kind == "preference":
        raise UsageError(
            f"config.reward.model={reward.model!r} was trained for preference; expected process or outcome, whose "
            "scores are probabilities"
        )
    step_ends = make_step_ends(model.tokenizer, reward.step_separator)
    width = max(len(prompt.prompt_ids) for prompt in prompts)

    def score(prefixes: Parents) -> list[float]:
        scores: list[float] = []
        for chunk, size in _chunks(prefixes, rows):
            asked = [prompts[problem] for problem, _ in chunk]
            samples = _as_samples([prefix for _, prefix in chunk], size, max_length)
            batch = make_batch(asked + asked[:1] * (size - len(asked)), samples, 1, width, model.pad_id)
            batch["questions"][: len(chunk)] = [problem for problem, _ in chunk]
            batch["questions"][len(chunk) :] = chunk[0][0]
            scores_BT = reward_model.begin(params, batch)()[: len(chunk)]
            ends = [step_ends(prefix.tokens) for _, prefix in chunk]
            made = reward_model.of_completions(scores_BT, samples.lengths[: len(chunk)], ends)
            if not np.isfinite(made).all():
                raise RunError(f"config.reward.model={reward.model!r}: gave a score that is no finite number")
            scores += made.tolist()
        return scores

    return score


def search_records(
    model: Model,
    asked: HeldOut,
    kind: Callable[[], Search],
    expand: Expand,
    score: Score,
    rewarder: Rewarder,
    per_batch: int,
    done: int = 0,
) -> Iterator[list[list[dict]]]:
    """Searches `per_batch` problems at a time: for each of them its solutions, the best one first.

    Their records are those of `evaluation.sample_records`, `sample` being the rank, with `score` and `share`
    (`sampling.search.Prefix`), and with what the search took, the same for all of a problem: `spent`, tokens that were
    drawn, and `scored`, tokens that were read for scores. `done` problems can be left out without a change to the
    others.

    Args:
        model: the policy.
        asked: the problems; `expand` and `score` were made with its prompts.
        kind: such as `beam.Beam` or `tree.Tree`: starts a search.
        expand: as `make_expand` makes it.
        score: as `make_score` makes it.
        rewarder: its verdict says what is correct.
        per_batch: problems.
        done: the first so many are not searched.
    """
    for start in range(done, len(asked.prompts), per_batch):
        numbers = range(start, min(start + per_batch, len(asked.prompts)))
        found = search.run({number: kind() for number in numbers}, expand, score)
        yield _records(model, asked, found, rewarder)


def choose_by_vote(solutions: Sequence[dict]) -> dict:
    """Of a problem's records the best one of those whose answer has the most votes. A vote weighs the score, times the
    share that the solution had of what was drawn: searches keep equal samples once.

    What counts as the same answer says `estimators.ballots`, which here, unlike in `estimators.majority`, does not know
    what is right: a right answer that is written in two ways is two. Of answers with equally many votes it is the one
    whose best solution is better: one has to be chosen, where `majority` gives an expectation. Without any vote it is
    the best solution of all.

    Args:
        solutions: the best one first: `extracted`, `score`, `share`.
    """
    voted = [record for record in solutions if record["extracted"] is not None]
    if not voted:
        return solutions[0]
    weights = [record["score"] * record["share"] for record in voted]
    ballots_N = ballots([record["extracted"] for record in voted])
    leads_C = leaders(np.bincount(ballots_N, weights)[None])[0]
    return next((record for record, ballot in zip(voted, ballots_N, strict=True) if leads_C[ballot]), solutions[0])


def _records(model: Model, asked: HeldOut, found: dict[int, Outcome], rewarder: Rewarder) -> list[list[dict]]:
    flat = [(number, rank, one) for number, outcome in found.items() for rank, one in enumerate(outcome.solutions)]
    completed = [
        Completed(
            index=asked.prompts[number].index,
            sample=rank,
            prompt=decode(model.tokenizer, asked.prompts[number].prompt_ids),
            text=decode(model.tokenizer, one.tokens),
            finish=one.finish,
            tokens=one.tokens,
            logprobs=one.logprobs,
        )
        for number, rank, one in flat
    ]
    records: dict[int, list[dict]] = {number: [] for number in found}
    for (number, _, one), record in zip(flat, grade_records(asked, rewarder, completed), strict=True):
        told = {"score": one.score, "share": one.share, "spent": found[number].spent, "scored": found[number].scored}
        records[number].append(record | told)
    return list(records.values())


def _number(problem: int, path: Sequence[int], to_end: bool) -> int:
    """Of a prefix, for its random numbers: two that share one of 2³¹ do no harm."""
    told = repr((problem, tuple(path), to_end)).encode()
    return int.from_bytes(hashlib.blake2b(told, digest_size=4).digest()) % 2**31


def _step(made: Samples, row: int, room: int, stop_ids: Sequence[int]) -> Step:
    tokens = tuple(made.tokens[row, : made.lengths[row]].tolist())[:room]
    finish = search.STOP if tokens[-1] in stop_ids else search.LENGTH if len(tokens) == room else ""
    return Step(tokens, tuple(made.logprobs[row, : len(tokens)].tolist()), finish)


def _as_samples(prefixes: Sequence[Prefix], size: int, max_length: int) -> Samples:
    """So many completions; those without tokens take no room (`layout.lay_out`)."""
    tokens = np.zeros((size, max_length), np.int32)
    lengths = np.zeros(size, np.int32)
    for row, prefix in enumerate(prefixes):
        lengths[row] = len(prefix.tokens)
        tokens[row, : lengths[row]] = prefix.tokens
    return Samples(tokens, np.zeros((size, max_length), np.float32), lengths, np.zeros(size, bool))


def _chunks(items: Parents, most: int) -> Iterator[tuple[Parents, int]]:
    """At most so many items at a time, and the rows that they are to be filled up to."""
    for start in range(0, len(items), most):
        chunk, size = items[start : start + most], most
        while size // FEWER >= max(len(chunk), LEAST_ROWS):
            size //= FEWER
        yield chunk, size
