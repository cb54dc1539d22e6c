"""From problems to batches of prompts: encoded once, shuffled anew in every epoch, resumable."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grain
import numpy as np
from transformers import PreTrainedTokenizerBase

from rl_reason.data.packing import Packed as Packed
from rl_reason.data.packing import pack as pack
from rl_reason.data.templates import Template, find_template
from rl_reason.data.tokenization import encode_prompt
from rl_reason.errors import UsageError

log = logging.getLogger(__name__)


@dataclass(frozen=True, order=True)
class EncodedPrompt:
    """A prompt and the place of its problem in the data source."""

    index: int
    prompt_ids: list[int]


def encode_all(
    problems: Sequence[Mapping],
    template: str | Template,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    long_prompts: str | None = None,
    rows: int = 0,
    part: slice = slice(None),
    gather: Callable[[Any], list[Any]] = lambda mine: [mine],
) -> list[EncodedPrompt]:
    """All prompts, tokenized before training starts, so that one too long is found at once and not days later.

    Args:
        max_length: most tokens of a prompt.
        long_prompts: "error"; "drop": leave longer ones out and log how many; None: an error where nothing is dropped.
        rows: of the model's embedding; 0: as many as tokens.
        part: of the problems, for which this process is to do it. No other ones are looked at.
        gather: from what JSON holds to that of all processes, in the order of their parts.

    Raises:
        UsageError: a prompt is too long (but for "drop"), or none is left ("drop"), or another `long_prompts`; or a
            prompt holds a token that the model has no row for.
    """
    if long_prompts not in ("error", "drop", None):
        raise UsageError(f"config.data.long_prompts={long_prompts!r}: expected 'error' or 'drop'")
    function = find_template(template) if isinstance(template, str) else template

    def encode(index: int) -> list[int] | None:
        problem = problems[index]
        ids = encode_prompt(problem, function, tokenizer)
        if not ids:
            raise UsageError(
                f"the prompt of problem {problem.get('id', index)!r} has no tokens; expected a template that writes "
                f"text and a tokenizer with a vocabulary ({tokenizer.name_or_path or 'trained here'})"
            )
        if rows and max(ids) >= rows:
            raise UsageError(
                f"the prompt of problem {problem.get('id', index)!r} holds {tokenizer.decode([max(ids)])!r}, token "
                f"{max(ids)}; expected tokens below {rows}, the rows of the model's embedding"
            )
        if len(ids) > max_length and long_prompts != "drop":
            hint = ", or config.data.long_prompts='drop'" if long_prompts else ""
            raise UsageError(
                f"config.data.max_prompt_length={max_length}: the prompt of problem {problem.get('id', index)!r} has "
                f"{len(ids)} tokens; expected a larger limit{hint}"
            )
        return ids if len(ids) <= max_length else None

    try:
        told = gather([encode(index) for index in range(*part.indices(len(problems)))])
    except UsageError as error:  # All processes end with the line of the first that has one.
        told = gather(str(error))
    if errors := [one for one in told if isinstance(one, str)]:
        raise UsageError(errors[0])
    encoded = [ids for one in told for ids in one]
    kept = [EncodedPrompt(index, ids) for index, ids in enumerate(encoded) if ids is not None]
    dropped = len(problems) - len(kept)
    if dropped:
        log.warning("dropped %d of %d prompts longer than %d tokens", dropped, len(problems), max_length)
    if not kept:
        raise UsageError(f"config.data.max_prompt_length={max_length}: none of {len(problems)} prompts is left")
    return kept


def prompt_iterator(source: Sequence[Any], batch_size: int, seed: int) -> grain.DatasetIterator:
    """Batches without end, each a list of `batch_size` different elements of `source`.

    Every epoch is another permutation. What does not fill a batch at the end of an epoch waits for another epoch, so
    that no batch spans two and holds an element twice. `get_state()` is a small JSON-serialisable dictionary, and
    `set_state(state)` goes on behind it; the order depends on `len(source)`, `batch_size` and `seed` only.

    Raises:
        UsageError: fewer elements than `batch_size`.
    """
    if not 0 < batch_size <= len(source):
        raise UsageError(
            f"config.algorithm.batch_size / group_size={batch_size} problems a step: config.data.name has "
            f"{len(source)}; expected 1 to {len(source)}"
        )
    dataset = grain.MapDataset.source(source).seed(seed % 2**32).shuffle()
    dataset = dataset.batch(batch_size, drop_remainder=True, batch_fn=list).repeat()
    # The elements are in memory: reading ahead in threads would cost more than it hides.
    return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)))


def permutations(count: int, seed: int) -> Callable[[int], np.ndarray]:
    """`order(epoch)`: the places 0 to `count` − 1 as `prompt_iterator` takes them in that epoch, int [count]."""
    shuffled = grain.MapDataset.range(count).seed(seed % 2**32).shuffle()
    return lambda epoch: np.array([shuffled[epoch * count + i] for i in range(count)], np.int64)


PADDING_STEP = 128
"""Prompts are padded to a multiple of so many tokens: few shapes, so few compilations."""


def padded_length(prompts: Sequence[EncodedPrompt], limit: int) -> int:
    """Tokens that a batch's prompts are padded to: its longest, rounded up to `PADDING_STEP`, at most `limit`."""
    longest = max(len(prompt.prompt_ids) for prompt in prompts)
    return min(-(-longest // PADDING_STEP) * PADDING_STEP, limit)


def left_pad(rows: Sequence[Sequence[int]], length: int, pad_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of token ids, right-aligned, so that all prompts end where completions begin.

    Returns:
        prompts_BP: int32, P = `length`. lengths_B: int32, tokens that are not padding.

    Raises:
        ValueError: a row is longer than `length`.
    """
    lengths_B = np.array([len(row) for row in rows], np.int32)
    if lengths_B.size and lengths_B.max() > length:
        raise ValueError(f"a prompt of {lengths_B.max()} tokens does not fit into {length}")
    prompts_BP = np.full((len(rows), length), pad_id, np.int32)
    for prompt_P, row in zip(prompts_BP, rows, strict=True):
        if len(row):
            prompt_P[-len(row) :] = row
    return prompts_BP, lengths_B
