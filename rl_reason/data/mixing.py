"""Rows of documents for continued pretraining: packed without padding, mixed by weight, from any position."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import grain
import numpy as np
from grain.experimental import ConcatThenSplitIterDataset

THREADS, AHEAD = 4, 64
"""That read and tokenize documents of a source, and how many of them wait to be packed."""

Encode = Callable[[str], Sequence[int]]
"""A document's tokens, with what begins and what ends one."""


def mixed_rows(
    sources: Sequence[tuple[Sequence[str], float]], encode: Encode, rows: int, length: int, boundaries: bool, seed: int
) -> grain.DatasetIterator:
    """Batches of full rows, without end.

    Each source is shuffled, an epoch anew, and its documents are laid one behind the other and cut into rows. A row is
    of one source; of any number of rows in a row each source has its share, to one.

    Args:
        sources: (documents, weight): the share of tokens that are a source's is its weight over the sum of all.
        encode: makes tokens.
        rows: of a batch.
        length: of a row.
        boundaries: whether attention and loss end with a document; else a row is one text.
        seed: of the order.

    Returns:
        An iterator over arrays: int32 `tokens` and `segments` [rows, length], float32 `weights` [rows, length], 1 where
        a token is predicted, and int32 `source` [rows]. What is first in a row or, with `boundaries`, in a document is
        not predicted. `get_state()` is a dictionary for JSON, and `set_state(state)` goes on behind it.
    """
    options = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=AHEAD)

    def of_source(number: int, documents: Sequence[str]) -> grain.IterDataset:
        shuffled = grain.MapDataset.source(documents).seed((seed * 1_000_003 + number) % 2**32).shuffle().repeat()
        encoded = shuffled.map(lambda text: {"tokens": np.asarray(encode(text), np.int32)})
        packed = ConcatThenSplitIterDataset(encoded.to_iter_dataset(options), length_struct={"tokens": length})
        return packed.map(lambda row: _finish(row, number, boundaries))

    parts = {str(number): of_source(number, documents) for number, (documents, _) in enumerate(sources)}
    weights = {str(number): weight for number, (_, weight) in enumerate(sources)}
    return iter(grain.IterDataset.mix(parts, weights).batch(rows))


def _finish(row: Mapping[str, np.ndarray], source: int, boundaries: bool) -> dict[str, np.ndarray]:
    segments_T = row["tokens_segment_ids"] if boundaries else np.ones_like(row["tokens"])
    return {
        "tokens": row["tokens"],
        "segments": segments_T,
        "weights": _follows(segments_T),
        "source": np.int32(source),
    }


def _follows(segments_T: np.ndarray) -> np.ndarray:
    """float32 [..., T]: 1 where the token before is of the same text."""
    before_T = np.concatenate([np.zeros_like(segments_T[..., :1]), segments_T[..., :-1]], axis=-1)
    return ((segments_T > 0) & (before_T == segments_T)).astype(np.float32)


def held_out_rows(documents: Sequence[str], encode: Encode, length: int, pad_id: int) -> dict[str, np.ndarray]:
    """All tokens of some documents once, in their order, each document by itself.

    A document that is longer than a row goes on in the next one, where it begins anew.

    Returns:
        `tokens`, `segments` and `weights` as in `mixed_rows`; the last row is padded (segment 0).
    """
    rows: list[tuple[np.ndarray, np.ndarray]] = []
    tokens_T, segments_T, used, segment = _empty_row(length, pad_id)
    for text in documents:
        left = np.asarray(encode(text), np.int32)
        while len(left):
            if used == length:
                rows.append((tokens_T, segments_T))
                tokens_T, segments_T, used, segment = _empty_row(length, pad_id)
            taken, left = left[: length - used], left[length - used :]
            segment += 1
            tokens_T[used : used + len(taken)], segments_T[used : used + len(taken)] = taken, segment
            used += len(taken)
    rows.append((tokens_T, segments_T))
    tokens_RT, segments_RT = (np.stack(part) for part in zip(*rows, strict=True))
    return {"tokens": tokens_RT, "segments": segments_RT, "weights": _follows(segments_RT)}


def _empty_row(length: int, pad_id: int) -> tuple[np.ndarray, np.ndarray, int, int]:
    return np.full(length, pad_id, np.int32), np.zeros(length, np.int32), 0, 0
