"""Batches for supervised training: examples packed into rows of fixed length, each once an epoch."""

from __future__ import annotations

import functools
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase

from rl_reason.data.chat import encode_chat
from rl_reason.data.packing import pack_weighted
from rl_reason.data.solutions import STYLES
from rl_reason.data.templates import Template
from rl_reason.data.tokenization import encode_prompt
from rl_reason.errors import UsageError

log = logging.getLogger(__name__)


class Example(NamedTuple):
    ids: list[int]
    targets: list[bool]
    """Which of the ids are to be learned."""

    @staticmethod
    def of(prompt_ids: Sequence[int], completion_ids: Sequence[int]) -> Example:
        """A prompt and the completion to be learned, with its end."""
        return Example([*prompt_ids, *completion_ids], [False] * len(prompt_ids) + [True] * len(completion_ids))


@dataclass(frozen=True)
class Examples:
    """`draw(index, place, step)` is example `index`; its place among all that are taken and the step say how it is
    written where there are several ways. None: it is left out."""

    count: int
    draw: Callable[[int, int, int], Example | None]


Batches = Callable[[int, int], tuple[dict[str, np.ndarray], int]]


def mixture_at(stages: tuple, step: int) -> tuple:
    """The (style, share) pairs of the stage that `step` falls into."""
    return [mixture for start, mixture in stages if start <= step][-1]


def make_examples(
    problems: Sequence[Mapping],
    stages: tuple,
    template: Template,
    tokenizer: PreTrainedTokenizerBase,
    stop_ids: Sequence[int],
    length: int,
    key: str,
    long_prompts: str,
    seed: int,
) -> Examples:
    """Examples of problems with solutions, and of conversations (`messages`).

    Of a list all are encoded at once, so that one too long is found before training starts; of a source that makes
    problems when they are asked for, each as it is drawn.

    Args:
        problems: what is learned from.
        stages: how solutions are written (`config.data.solutions`); conversations do not read it.
        template: of prompts.
        tokenizer: of all text.
        stop_ids: tokens that may end a turn of a conversation.
        length: most tokens of an example.
        key: what said the length, for the error line.
        long_prompts: "error", or "drop": leave longer ones out and say how many.
        seed: of the styles.

    Raises:
        UsageError: an example is too long ("error"), or none is left ("drop"); or `stages` that no problem reads, or
            that are missing.
    """
    styles = sorted({style for _, mixture in stages for style, _ in mixture})
    if not stages and not all("messages" in problem for problem in problems):
        raise UsageError("config.data.solutions=(): expected stages of how solutions are written (`data.solutions`)")

    def encode(problem: Mapping, style: str) -> Example | None:
        if "messages" in problem:
            made = Example(*encode_chat(problem, tokenizer, stop_ids))
        else:
            solution = tokenizer(STYLES[style](problem), add_special_tokens=False)["input_ids"]
            made = Example.of(encode_prompt(problem, template, tokenizer), [*solution, tokenizer.eos_token_id])
        if len(made.ids) <= length:
            return made
        if long_prompts == "error":
            raise UsageError(
                f"{key}={length}: problem {problem['id']!r} with its solution has {len(made.ids)} tokens; expected a "
                "longer row, or config.data.long_prompts='drop'"
            )
        return None

    def style_at(place: int, step: int) -> str:
        mixture = mixture_at(stages, step)
        rng = random.Random(f"supervised/{seed}/{place}")
        return rng.choices([style for style, _ in mixture], [share for _, share in mixture])[0]

    def encode_now(index: int, place: int, step: int) -> Example | None:
        made = encode(problems[index], style_at(place, step))
        if made is None:
            log.warning("dropped %r, longer than %d tokens", problems[index]["id"], length)
        return made

    if not isinstance(problems, list):
        return Examples(len(problems), encode_now)

    if stages and all("messages" in problem for problem in problems):
        raise UsageError(
            f"config.data.solutions={stages!r}: is not read, all rows of config.data.name have `messages`; expected ()"
        )
    kept: list[dict[str, Example]] = []
    for problem in problems:
        made = {style: encode(problem, style) for style in ([""] if "messages" in problem else styles)}
        whole = {style: example for style, example in made.items() if example is not None}
        if len(whole) == len(made):
            kept.append(whole)
    if len(kept) < len(problems):
        dropped = len(problems) - len(kept)
        log.warning("dropped %d of %d examples longer than %d tokens", dropped, len(problems), length)
    if not kept:
        raise UsageError(f"{key}={length}: none of {len(problems)} examples is left; expected a longer row")
    draw = lambda index, place, step: kept[index][style_at(place, step) if "" not in kept[index] else ""]  # noqa: E731
    return Examples(len(kept), draw)


def make_batches(examples: Examples, rows: int, length: int, pad_id: int, reduction: str, seed: int) -> Batches:
    """`batch(step, taken) -> (arrays, taken afterwards)`: a pure function of the step and of how many examples the
    batches before it have taken, which is all that a run keeps of its position.

    Every epoch is another permutation, drawn from the seed. A batch takes the next examples until one finds no room in
    `rows` rows of `length` tokens; that one opens the next batch.

    Returns:
        A function to arrays [rows, length]: int32 `tokens` and `segments` (0 is padding, see `decoder.forward`), and
        float32 `weights`, 0 where the token is not to be learned; else, by the reduction, 1 ("token_mean") or 1 over
        the number of the example's targets ("sequence_mean"). They sum up to what the loss is divided by.
    """

    @functools.lru_cache(maxsize=2)
    def order(epoch: int) -> np.ndarray:
        return np.random.default_rng((seed, epoch)).permutation(examples.count)

    def batch(step: int, taken: int) -> tuple[dict[str, np.ndarray], int]:
        chosen: list[tuple[list[int], list[float]]] = []
        free_R, begun = np.full(rows, length), taken
        while chosen or taken - begun <= examples.count:
            epoch, place = divmod(taken, examples.count)
            example = examples.draw(int(order(epoch)[place]), taken, step)
            if example is not None:
                row = int(np.argmax(free_R >= len(example.ids)))  # As `packing.first_fit` will do.
                if free_R[row] < len(example.ids):
                    break
                free_R[row] -= len(example.ids)
                chosen.append((example.ids, _weights(example.targets, reduction)))
            taken += 1
        if not chosen:
            raise UsageError(f"rows of {length} tokens: none of {examples.count} examples fits; expected longer ones")
        packed = pack_weighted(chosen, length, pad_id)
        arrays = (np.pad(x, ((0, rows - len(x)), (0, 0))) for x in packed)
        return dict(zip(("tokens", "segments", "weights"), arrays, strict=True)), taken

    return batch


def _weights(targets: Sequence[bool], reduction: str) -> list[float]:
    """As `reductions.token_weights` has it of the example by itself; nothing predicts its first token."""
    count = sum(targets[1:])
    weight = 1 / max(count, 1) if reduction == "sequence_mean" else 1.0
    return [weight * on for on in targets]
