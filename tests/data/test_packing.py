"""Packing keeps every token of every example, in as few rows as first-fit needs."""

import time

import numpy as np
import pytest

from rl_reason.data.packing import pack
from rl_reason.errors import UsageError


def unpack(packed) -> list[tuple[list[int], list[int]]]:
    """(tokens, mask) of each example, row by row."""
    examples = []
    for tokens, segments, mask in zip(packed.tokens_RT, packed.segments_RT, packed.loss_mask_RT, strict=True):
        for segment in range(1, segments.max() + 1):
            places = np.flatnonzero(segments == segment)
            assert np.all(np.diff(places) == 1)  # an example is in one piece
            examples.append((tokens[places].tolist(), mask[places].tolist()))
    return examples


def first_fit(sizes, length: int) -> list[list[int]]:
    """The definition: each example into the first row that has room."""
    rows: list[list[int]] = []
    for n, size in enumerate(sizes):
        row = next((row for row in rows if sum(sizes[i] for i in row) + size <= length), None)
        if row is None:
            rows.append(row := [])
        row.append(n)
    return rows


def random_examples(count: int, longest: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, longest + 1, (count, 2))
    return [(rng.integers(5, 99, p).tolist(), rng.integers(5, 99, c).tolist()) for p, c in sizes]


@pytest.mark.parametrize(("count", "longest", "length"), [(1, 3, 6), (40, 5, 10), (300, 20, 64), (100, 32, 64)])
def test_packing_is_first_fit_and_loses_nothing(count, longest, length):
    examples = random_examples(count, longest)
    packed = pack(examples, length, pad_id=0)
    rows = first_fit([len(p) + len(c) for p, c in examples], length)
    assert packed.tokens_RT.shape == (len(rows), length)
    expected = [examples[n] for row in rows for n in row]
    assert unpack(packed) == [(p + c, [0.0] * len(p) + [1.0] * len(c)) for p, c in expected]


def test_what_no_example_fills_is_padding_without_loss():
    packed = pack([([1, 2], [3]), ([4], [5, 6])], 8, pad_id=7)
    np.testing.assert_array_equal(packed.tokens_RT, [[1, 2, 3, 4, 5, 6, 7, 7]])
    np.testing.assert_array_equal(packed.segments_RT, [[1, 1, 1, 2, 2, 2, 0, 0]])
    np.testing.assert_array_equal(packed.loss_mask_RT, [[0, 0, 1, 0, 1, 1, 0, 0]])
    assert [array.dtype for array in packed] == [np.int32, np.int32, np.float32]


def test_the_first_token_of_an_example_is_no_target():
    packed = pack([([], [3, 4]), ([], [5])], 4, pad_id=0)
    np.testing.assert_array_equal(packed.loss_mask_RT, [[0, 1, 0, 0]])


def test_no_examples_make_no_rows():
    assert pack([], 4, pad_id=0).tokens_RT.shape == (0, 4)


@pytest.mark.parametrize("example", [([1, 2, 3], [4, 5]), ([], [])])
def test_an_example_that_fits_into_no_row_is_named(example):
    with pytest.raises(UsageError, match=f"example 1 has {len(example[0]) + len(example[1])} tokens"):
        pack([([1], [2]), example], 4, pad_id=0)


def test_a_hundred_thousand_short_examples_take_seconds():
    examples = [([1] * (n % 37 + 1), [2] * (n % 23 + 1)) for n in range(100_000)]
    start = time.monotonic()
    packed = pack(examples, 512, pad_id=0)
    assert time.monotonic() - start < 20  # about one on an idle core; a quadratic packing takes minutes
    assert (packed.segments_RT > 0).mean() > 0.95
