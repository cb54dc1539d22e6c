"""Batches for supervised training: problems with written-out solutions, packed into rows of fixed length."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from rl_reason.data.packing import pack
from rl_reason.data.solutions import STYLES
from rl_reason.data.templates import Template
from rl_reason.data.tokenization import encode_prompt
from rl_reason.errors import UsageError


def mixture_at(stages: tuple, step: int) -> tuple:
    """The (style, share) pairs of the stage that `step` falls into."""
    return [mixture for start, mixture in stages if start <= step][-1]


def make_batches(
    problems: Sequence[Mapping],
    stages: tuple,
    template: Template,
    tokenizer: PreTrainedTokenizerBase,
    rows: int,
    length: int,
    pad_id: int,
    seed: int,
) -> Callable[[int], dict[str, np.ndarray]]:
    """`batch(step)`: a pure function of the step, so a run that is resumed needs no saved position.

    Each batch holds as many problems, drawn at random, as fill `rows` rows of `length` tokens.

    Returns:
        A function from the step to arrays [rows, length]: int32 `tokens` and `segments` (0 is padding, see
        `decoder.forward`), and float32 `weights`, 1 where the token belongs to a solution.
    """

    def example(rng: random.Random, mixture: tuple) -> tuple[list[int], list[int]]:
        problem = problems[rng.randrange(len(problems))]
        style = rng.choices([style for style, _ in mixture], [share for _, share in mixture])[0]
        solution = tokenizer(STYLES[style](problem), add_special_tokens=False)["input_ids"]
        pair = encode_prompt(problem, template, tokenizer), [*solution, tokenizer.eos_token_id]
        if sum(map(len, pair)) > length:
            raise UsageError(
                f"config.sampling.max_length={length}: problem {problem['id']!r} with its solution has "
                f"{sum(map(len, pair))} tokens; expected a longer row"
            )
        return pair

    def batch(step: int) -> dict[str, np.ndarray]:
        rng = random.Random(f"supervised/{seed}/{step}")
        mixture = mixture_at(stages, step)
        examples, tokens = [], 0
        # A little less than what fits: first-fit packing leaves about one part in twenty empty.
        while tokens < 0.95 * rows * length:
            examples.append(example(rng, mixture))
            tokens += sum(map(len, examples[-1]))
        packed = pack(examples, length, pad_id)
        # What does not fit after all is left out: whole rows, the last ones opened.
        arrays = (np.pad(x[:rows], ((0, max(0, rows - len(x))), (0, 0))) for x in packed)
        return dict(zip(("tokens", "segments", "weights"), arrays, strict=True))

    return batch
