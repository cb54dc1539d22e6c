"""Rows that are made when they are asked for, as a sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


class MadeRows(Sequence):
    """`count` rows; row `index` is `make(index)`, each time anew."""

    def __init__(self, count: int, make: Callable[[int], Any]):
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._make(index % len(self))
