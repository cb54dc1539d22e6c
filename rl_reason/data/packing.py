"""Packing: many short examples in one row of a fixed length, for supervised training without padding waste."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from rl_reason.errors import UsageError


class Packed(NamedTuple):
    """Rows of packed examples; R rows of T = `length` positions."""

    tokens_RT: np.ndarray
    """int32."""
    segments_RT: np.ndarray
    """int32: 1, 2, … for the examples of a row, 0 for padding. Attention stays within a segment."""
    loss_mask_RT: np.ndarray
    """float32: 1 where the token is a target, that is, belongs to a completion; or the weight of its loss."""


def pack(examples: Sequence[tuple[Sequence[int], Sequence[int]]], length: int, pad_id: int) -> Packed:
    """Packs (prompt_ids, completion_ids with end-of-sequence) pairs; see `pack_weighted`."""
    weighted = [
        ([*prompt, *completion], [0.0] * len(prompt) + [1.0] * len(completion)) for prompt, completion in examples
    ]
    return pack_weighted(weighted, length, pad_id)


def pack_weighted(examples: Sequence[tuple[Sequence[int], Sequence[float]]], length: int, pad_id: int) -> Packed:
    """Packs (ids, weight of each id's loss) pairs, each into the first row that has room.

    No example is cut. The weight stands at the position of the token that is predicted, not of the one that predicts
    it. The first token of an example is never a target, even without a prompt: nothing stands before it.

    Raises:
        UsageError: an example has no tokens or more than `length`.
    """
    sizes_N = np.array([len(ids) for ids, _ in examples], np.int64)
    wrong = np.flatnonzero((sizes_N > length) | (sizes_N == 0))
    if wrong.size:
        raise UsageError(f"example {wrong[0]} has {sizes_N[wrong[0]]} tokens; expected 1 to {length} in a packed row")
    rows_N, starts_N, segments_N = first_fit(sizes_N, length)
    shape = (int(rows_N.max(initial=-1)) + 1, length)
    # One flat index per token; the examples are written in one go.
    count = int(sizes_N.sum())
    offsets_N = np.cumsum(sizes_N) - sizes_N
    within = np.arange(count) - np.repeat(offsets_N, sizes_N)
    places = np.repeat(rows_N * length + starts_N, sizes_N) + within

    packed = Packed(np.full(shape, pad_id, np.int32), np.zeros(shape, np.int32), np.zeros(shape, np.float32))
    tokens = np.fromiter(chain.from_iterable(ids for ids, _ in examples), np.int32, count)
    weights = np.fromiter(chain.from_iterable(weights for _, weights in examples), np.float32, count)
    packed.tokens_RT.reshape(-1)[places] = tokens
    packed.segments_RT.reshape(-1)[places] = np.repeat(segments_N, sizes_N)
    packed.loss_mask_RT.reshape(-1)[places] = weights * (within > 0)
    return packed


def first_fit(sizes_N: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, first position and segment number of each example."""
    rows_N, starts_N, segments_N = np.zeros((3, len(sizes_N)), np.int64)
    free = np.full(len(sizes_N), length, np.int32)  # of all rows that can be needed
    used = np.zeros(len(sizes_N), np.int64)
    first = 0  # rows before it have no room even for the smallest example
    smallest = int(sizes_N.min(initial=length))
    opened = 0
    for n, size in enumerate(sizes_N.tolist()):
        while first < opened and free[first] < smallest:
            first += 1
        row = first + int(np.argmax(free[first : opened + 1] >= size))
        opened = max(opened, row + 1)
        rows_N[n], starts_N[n] = row, length - free[row]
        free[row] -= size
        used[row] += 1
        segments_N[n] = used[row]
    return rows_N, starts_N, segments_N
