"""Rows of documents for continued pretraining: packed without padding, mixed by weight, from any position."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grain
import numpy as np

THREADS, AHEAD = 4, 64
"""That read and tokenize documents, and how many of a source are so before they are packed."""

Encode = Callable[[str], Sequence[int]]
"""A document's tokens, with what begins and what ends one."""


class MixedRows(Iterator[dict[str, np.ndarray]]):
    """Batches of full rows, without end.

    Each source is shuffled, an epoch anew, and its documents are laid one behind the other and cut into rows. A row is
    of one source; of any number of rows in a row each source has its share, to less than one row a source.

    A batch has int32 `tokens` and `segments` [rows, length], float32 `weights` [rows, length], 1 where a token is
    predicted, and int32 `source` [rows]. What is first in a row or, with `boundaries`, in a document is not predicted.

    Args:
        sources: (documents, weight): the share of tokens that are a source's is its weight over the sum of all.
        encode: makes tokens; called in threads.
        rows: of a batch.
        length: of a row.
        boundaries: whether attention and loss end with a document; else a row is one text.
        seed: of the order.
    """

    def __init__(
        self,
        sources: Sequence[tuple[Sequence[str], float]],
        encode: Encode,
        rows: int,
        length: int,
        boundaries: bool,
        seed: int,
    ):
        self._rows, self._boundaries = rows, boundaries
        pool = ThreadPoolExecutor(THREADS)
        self._sources = [
            _Source(documents, encode, length, (seed * 1_000_003 + number) % 2**32, pool)
            for number, (documents, _) in enumerate(sources)
        ]
        weights = np.array([weight for _, weight in sources], np.float64)
        self._shares = weights / weights.sum()

    def get_state(self) -> dict[str, Any]:
        """Where each source stands, for JSON."""
        return {"sources": [dict(source.position) for source in self._sources]}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on behind it."""
        for source, position in zip(self._sources, state["sources"], strict=True):
            source.go_to(position)

    def __next__(self) -> dict[str, np.ndarray]:
        chosen = [self._next_source() for _ in range(self._rows)]
        made = [self._sources[number].row() for number in chosen]
        tokens_RT, segments_RT = (np.stack(part) for part in zip(*made, strict=True))
        if not self._boundaries:
            segments_RT = np.ones_like(segments_RT)
        return {
            "tokens": tokens_RT,
            "segments": segments_RT,
            "weights": _follows(segments_RT),
            "source": np.array(chosen, np.int32),
        }

    def _next_source(self) -> int:
        """The one that lacks most of its share, which is told that it is next."""
        taken = np.array([source.position["rows"] for source in self._sources])
        number = int(np.argmax(self._shares * (taken.sum() + 1) - taken))
        self._sources[number].position["rows"] += 1
        return number


class _Source:
    """The rows of one source, and how far they are: `rows` that were taken, the `document` that is next, counted
    through all epochs, and how many of its tokens (`offset`) stand in rows already."""

    def __init__(self, documents: Sequence[str], encode: Encode, length: int, seed: int, pool: ThreadPoolExecutor):
        self._order = grain.MapDataset.source(documents).seed(seed).shuffle().repeat()
        self._encode, self._length, self._pool = encode, length, pool
        self._waiting: deque[Future[np.ndarray]] = deque()
        self.position = {"rows": 0, "document": 0, "offset": 0}

    def go_to(self, position: Mapping[str, int]) -> None:
        self.position = dict(position)
        self._waiting.clear()

    def row(self) -> tuple[np.ndarray, np.ndarray]:
        """Tokens and segments of the next row, int32 [length]: 1, 2, … for its documents."""
        tokens_T, segments_T, used, segment = _empty_row(self._length, 0)
        while used < self._length:
            document, begun = self._document(), self.position["offset"]
            taken = document[begun : begun + self._length - used]
            segment += 1
            tokens_T[used : used + len(taken)], segments_T[used : used + len(taken)] = taken, segment
            used += len(taken)
            self.position["offset"] += len(taken)
            if self.position["offset"] == len(document):
                self.position |= {"document": self.position["document"] + 1, "offset": 0}
                self._waiting.popleft()
        return tokens_T, segments_T

    def _document(self) -> np.ndarray:
        while len(self._waiting) < AHEAD:
            self._waiting.append(self._pool.submit(self._read, self.position["document"] + len(self._waiting)))
        return self._waiting[0].result()

    def _read(self, index: int) -> np.ndarray:
        return np.asarray(self._encode(self._order[index]), np.int32)


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
