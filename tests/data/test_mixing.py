"""Rows of documents: every token in its order, every source with its share, from any position."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rl_reason.data.mixing import MixedRows, held_out_rows

END = 999


def encode(text: str) -> list[int]:
    return [*map(int, text.split()), END]


def sources():
    """Documents of 1 to 12 numbers that tell where they belong: 100 · document + place, of the second source + 5000."""
    rng = np.random.default_rng(0)
    made = []
    for base, count in ((0, 30), (5000, 45)):
        sizes = rng.integers(1, 12, count)
        made.append([" ".join(str(base + 100 * i + j) for j in range(size)) for i, size in enumerate(sizes)])
    return made


def take(data, count: int) -> dict[str, np.ndarray]:
    batches = [next(data) for _ in range(count)]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def test_an_epoch_of_a_source_holds_its_documents_once():
    first, _ = sources()
    tokens = sum(len(encode(text)) for text in first)
    rows = take(MixedRows([(first, 1.0)], encode, rows=1, length=16, boundaries=True, seed=0), tokens // 16)
    stream = rows["tokens"].reshape(-1)
    begins = np.flatnonzero(np.concatenate([[True], stream[:-1] == END]))
    seen = [" ".join(map(str, part[:-1])) for part in np.split(stream, begins)[1:] if part[-1] == END]
    assert len(seen) == len(set(seen)) >= len(first) - 2 and set(seen) <= set(first)
    assert seen != first[: len(seen)]
    again = take(MixedRows([(first, 1.0)], encode, rows=1, length=16, boundaries=True, seed=0), 5)
    other = take(MixedRows([(first, 1.0)], encode, rows=1, length=16, boundaries=True, seed=1), 5)
    assert (again["tokens"] == rows["tokens"][:5]).all() and (other["tokens"] != rows["tokens"][:5]).any()


@pytest.mark.parametrize("boundaries", [True, False])
def test_what_is_predicted(boundaries):
    first, second = sources()
    rows = take(MixedRows([(first, 1.0), (second, 3.0)], encode, 4, 16, boundaries, seed=3), 10)
    tokens, segments, weights = rows["tokens"], rows["segments"], rows["weights"]
    assert tokens.shape == segments.shape == weights.shape == (40, 16) and rows["source"].shape == (40,)
    for count in range(1, 41):
        assert abs((rows["source"][:count] == 1).sum() - 0.75 * count) <= 1
    assert ((tokens < 5000) | (tokens == END))[rows["source"] == 0].all()
    assert ((tokens >= 5000) | (tokens == END))[rows["source"] == 1].all()
    for row in range(40):
        for t in range(16):
            begins = t == 0 or (boundaries and tokens[row, t - 1] == END)
            assert weights[row, t] == (0 if begins else 1)
            if t and boundaries:
                assert (segments[row, t] != segments[row, t - 1]) == begins
    if not boundaries:
        assert (segments == 1).all()


@pytest.mark.parametrize("seed", range(4))
def test_goes_on_from_any_position(seed):
    make = lambda: MixedRows([(one, 1.0) for one in sources()], encode, 3, 16, True, seed)  # noqa: E731
    whole = make()
    for _ in range(15):  # Each source is behind its first epoch in the end.
        position = json.loads(json.dumps(whole.get_state()))
        expected, left = next(whole), make()
        left.set_state(position)
        for name, x in next(left).items():
            np.testing.assert_array_equal(x, expected[name], err_msg=name)


def test_held_out_documents_stand_there_once():
    first, _ = sources()
    made = held_out_rows(first, encode, 16, pad_id=7)
    kept = made["tokens"][made["segments"] > 0]
    assert kept.tolist() == [token for text in first for token in encode(text)]
    assert (made["segments"][:-1] > 0).all() and (made["tokens"][made["segments"] == 0] == 7).all()
    starts = np.concatenate([np.zeros((len(made["tokens"]), 1)), made["tokens"][:, :-1]], axis=1)
    expected = (made["segments"] > 0) & (starts != END)
    expected[:, 0] = False
    np.testing.assert_array_equal(made["weights"], expected)
