"""Held-out problems: sampled, graded, counted. Used inside a run and by `rl_reason.evaluate`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np

from rl_reason.data.iterators import EncodedPrompt, left_pad, padded_length
from rl_reason.data.tokenization import decode
from rl_reason.models.weights import Params
from rl_reason.parallel import company, hosts
from rl_reason.parallel.mesh import replicated, sharding
from rl_reason.recipes.grading import grade
from rl_reason.recipes.setup import Model
from rl_reason.rewards.combination import Rewarder, describe_failure
from rl_reason.rewards.language import mixes
from rl_reason.rewards.summary import summarize
from rl_reason.sampling.sampler import Completions, Moved, Sampler, make_sampler


@dataclass(frozen=True)
class Samples:
    """Sampled completions on the host; row q · G + g is sample g of question q."""

    tokens: np.ndarray
    """int32 [B, T]."""
    logprobs: np.ndarray
    """float32 [B, T]."""
    lengths: np.ndarray
    """int32 [B]."""
    finished: np.ndarray
    """bool [B]."""

    @staticmethod
    def join(parts: Sequence[Samples]) -> Samples:
        """The samples of several calls, one behind the other."""
        names = [field.name for field in dataclasses.fields(Samples)]
        return Samples(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def take(self, rows: np.ndarray) -> Samples:
        return Samples(self.tokens[rows], self.logprobs[rows], self.lengths[rows], self.finished[rows])

    def rows(self) -> list[list[int]]:
        """The tokens of each completion."""
        return [row[:n].tolist() for row, n in zip(self.tokens, self.lengths, strict=True)]

    def texts(self, model: Model) -> list[str]:
        return [decode(model.tokenizer, row) for row in self.rows()]


Judge = Callable[[Sequence[EncodedPrompt], Samples, int], Callable[[], np.ndarray]]
"""(prompts, their samples, tokens that prompts are padded to): dispatches; what it returns waits, and gives the score
of each completion, float [B]."""


def start_sampling(
    sampler: Sampler,
    model: Model,
    weights: Moved,
    prompts: Sequence[EncodedPrompt],
    length: int,
    key: jax.Array,
    limit: int | None = None,
) -> Callable[[], Completions]:
    """Puts the prompts on the mesh and dispatches the sampler's first part; what it returns does the rest."""
    tokens_QP, lengths_Q = left_pad([prompt.prompt_ids for prompt in prompts], length, model.pad_id)
    mask_QP = np.arange(length)[None] >= length - lengths_Q[:, None]
    ids_Q = np.array([prompt.index for prompt in prompts], np.int32)
    rows = sharding(model.mesh, ("batch", "time"), tokens_QP.shape)
    everywhere = replicated(model.mesh)
    return sampler.begin(
        weights, hosts.place(tokens_QP, rows), hosts.place(mask_QP, rows), hosts.place(ids_Q, everywhere), key, limit
    )


def to_host(begun: list[Callable[[], Completions]]) -> Samples:
    """Waits for calls of the sampler, one after the other; their samples in this order. Empties the list: it holds
    caches and weights for decoding, whose room the update needs."""
    made = []
    while begun:
        made.append(begun.pop(0)())
    return Samples.join([Samples(x.tokens, x.logprobs, x.lengths, x.finished) for x in made])


@dataclass(frozen=True)
class HeldOut:
    """A data set to be evaluated on: its problems and their prompts; `prompt.index` is the place in `problems`."""

    name: str
    problems: Sequence[dict]
    prompts: Sequence[EncodedPrompt]


def questions_at_once(rows: int, samples: int, questions: int) -> int:
    """Of so many rows, with so many samples each; at least one."""
    return min(max(rows // samples, 1), questions)


class Completed(NamedTuple):
    """A completion of a problem that is to be graded."""

    place: int
    """Of its problem."""
    sample: int
    """Its number among those of its problem."""
    prompt: str | list
    """What was continued: a text, or the messages that a server was sent."""
    text: str
    finish: str
    """"stop" or "length"."""
    tokens: Sequence[int] | None = None
    """None where a server keeps them to itself."""
    logprobs: Sequence[float] = ()
    """Of each token."""


def grade_records(asked: HeldOut, rewarder: Rewarder, completed: Sequence[Completed]) -> list[dict]:
    """One record a completion, in this order: what it is, whose it is, and what the grader says of it."""
    owners = [asked.problems[one.place] for one in completed]
    graded = grade(rewarder, [one.text for one in completed], owners)
    failed = {failure["index"]: failure for failure in graded.failures}
    return [
        {
            "id": problem["id"],
            "sample": one.sample,
            "prompt": one.prompt,
            "completion": one.text,
            "answer": problem.get("answer"),
            **_tokens(one),
            "reward": float(graded.total[row]),
            "correct": graded.verdicts[row] == "correct",
            "verdict": graded.verdicts[row],
            "extracted": graded.extracted[row],
            "finish": one.finish,
        }
        | ({"rating": problem["rating"]} if "rating" in problem else {})
        | ({"language": problem["language"], "mixes": mixes(one.text, problem)} if "language" in problem else {})
        | ({"failure": describe_failure(failed[row])} if row in failed else {})
        for row, (one, problem) in enumerate(zip(completed, owners, strict=True))
    ]


def _tokens(one: Completed) -> dict[str, list]:
    if one.tokens is None:
        return {}
    return {"tokens": list(one.tokens), "logprobs": [round(x, 6) for x in one.logprobs]}


def sample_records(
    sampler: Sampler,
    model: Model,
    params: Params,
    asked: HeldOut,
    rewarder: Rewarder,
    samples: int,
    per_batch: int,
    key: jax.Array,
    done: int = 0,
    stops: Callable[[dict], Sequence[str]] = lambda problem: (),
    judge: Judge | None = None,
) -> Iterator[list[dict]]:
    """Samples and grades `per_batch` questions at a time: one record a sample, those of a question together.

    The random numbers of a sample are those of the key, its question and its number: `done` questions, whole batches,
    can be left out without a change to the others. Completions are cut off at the first of their problem's `stops`
    (`cut_off`); what `judge` says of them is their `score`.
    """
    problems, prompts = asked.problems, asked.prompts
    longest = max(len(prompt.prompt_ids) for prompt in prompts)
    weights = sampler.move(params)
    for start in range(done, len(prompts), per_batch):
        batch = list(prompts[start : start + per_batch])
        # The last batch is filled up with its own first prompt, so that there are few shapes.
        filled = batch + batch[:1] * (per_batch - len(batch))
        length = company.most(padded_length(filled, longest))
        made = to_host([start_sampling(sampler, model, weights, filled, length, key)])
        texts = made.texts(model)
        made, texts = cut_off(made, texts, [stops(problems[p.index]) for p in filled for _ in range(samples)], model)
        wait = judge(filled, made, length) if judge else None  # the device works while the host grades
        shown = [decode(model.tokenizer, prompt.prompt_ids) for prompt in batch]
        completed = [
            Completed(
                place=batch[row // samples].index,
                sample=row % samples,
                prompt=shown[row // samples],
                text=texts[row],
                finish="stop" if made.finished[row] else "length",
                tokens=made.tokens[row, : made.lengths[row]].tolist(),
                logprobs=made.logprobs[row, : made.lengths[row]].tolist(),
            )
            for row in range(len(batch) * samples)
        ]
        records = grade_records(asked, rewarder, completed)
        if wait:
            for record, score in zip(records, wait()[: len(records)], strict=True):
                record["score"] = float(score)
        yield records


def cut_off(
    made: Samples, texts: Sequence[str], stops: Sequence[Sequence[str]], model: Model
) -> tuple[Samples, list[str]]:
    """Completions as a sampler that knew the stop texts would have ended them.

    A text ends before the first of its stops that occurs in it. Of its tokens the fewest that hold that text are kept,
    at least one, and it counts as finished.
    """
    lengths_B, finished_B, cut = made.lengths.copy(), made.finished.copy(), list(texts)
    for row, (text, of_row) in enumerate(zip(texts, stops, strict=True)):
        found = [place for place in map(text.find, of_row) if place >= 0]
        if not found:
            continue
        cut[row] = text[: min(found)]
        low, high = 1, int(lengths_B[row])
        while low < high:
            middle = (low + high) // 2
            holds = decode(model.tokenizer, made.tokens[row, :middle].tolist()).startswith(cut[row])
            low, high = (low, middle) if holds else (middle + 1, high)
        lengths_B[row], finished_B[row] = low, True
    return dataclasses.replace(made, lengths=lengths_B, finished=finished_B), cut


Evaluator = Callable[[Params, HeldOut, Callable[[int], None]], tuple[dict, list[dict]]]


def make_evaluator(
    model: Model,
    rewarder: Rewarder,
    *,
    samples: int,
    temperature: float,
    top_p: float,
    max_length: int,
    rows: int,
    seed: int,
    greedy: bool = False,
    stops: Callable[[dict], Sequence[str]] = lambda problem: (),
) -> Evaluator:
    """`evaluate(params, held_out, progress) -> (summary, one record a sample)`; `progress(n)`: n more problems done.

    Args:
        model: the model.
        rewarder: its verdict says what is correct.
        samples: k completions of each problem.
        temperature: 0 is greedy; then one sample is enough.
        top_p: see `sampling.logits`.
        max_length: tokens of a completion.
        rows: completions that are sampled at the same time, about.
        seed: of the sampling keys. The same problems with the same seed get the same random numbers at every step.
        greedy: whether each problem is also completed once at temperature 0, of which the summary has `greedy`, the
            share that is right, with its interval.
        stops: texts at which the completions of a problem end (`sample_records`).
    """
    sampler = make_evaluation_sampler(model, samples, temperature, top_p, max_length)
    best = make_evaluation_sampler(model, 1, 0.0, 1.0, max_length) if greedy else None

    def draw(
        sampler: Sampler, params: Params, held_out: HeldOut, count: int, done: Callable[[int], None]
    ) -> list[dict]:
        records: list[dict] = []
        per_batch = questions_at_once(rows, count, len(held_out.prompts))
        key = jax.random.key(seed)
        for batch in sample_records(
            sampler, model, params, held_out, rewarder, count, per_batch, key, stops=stops
        ):
            records += batch
            done(len(batch) // count)
        return records

    def evaluate(params: Params, held_out: HeldOut, progress: Callable[[int], None]) -> tuple[dict, list[dict]]:
        records = draw(sampler, params, held_out, samples, progress)
        summary = summarize(records, samples)
        if best:
            right = summarize(draw(best, params, held_out, 1, lambda count: None), 1)
            summary |= {"greedy": right["pass@1"], "greedy_ci95": right["pass@1_ci95"]}
        return summary, records

    return evaluate


def make_evaluation_sampler(model: Model, samples: int, temperature: float, top_p: float, max_length: int) -> Sampler:
    return make_sampler(
        model.config,
        group_size=samples,
        max_length=max_length,
        stop_ids=model.stop_ids,
        pad_id=model.pad_id,
        temperature=temperature,
        top_p=top_p,
        dtype=model.dtype,
        constrain=model.constrain,
        decoding=model.decoding,
    ).joined()
