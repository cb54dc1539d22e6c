"""Sequences one behind the other, as one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any


class Joined(Sequence):
    """Parts one behind the other; what stands at a place is asked of its part only then, so that parts may be lazy."""

    def __init__(self, parts: Sequence[Sequence]):
        self._parts = parts
        self._ends = list(accumulate(map(len, parts)))

    def part_of(self, index: int) -> int:
        """Number of the part that holds a place, counted from the front."""
        return bisect_right(self._ends, index)

    def at(self, part: int, within: int) -> Any:
        """What stands at a place of a part."""
        return self._parts[part][within]

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        part = self.part_of(index)
        return self.at(part, index - (self._ends[part] - len(self._parts[part])))
