"""Which of many texts nearly repeat an earlier one, found by MinHash (Broder 1997) with locality-sensitive hashing.

Hashing only proposes pairs: each is compared by the runs of words themselves, so that what is reported is exact, and
what may be missed is a pair just above the threshold (`RECALL`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rl_reason.data.word_runs import word_runs

PERMUTATIONS = 128
RECALL = 0.99
"""Of pairs that are just so similar, the share that is found at least."""


@dataclass(frozen=True)
class NearDuplicate:
    """A text that is left out."""

    index: int
    of: int
    """The earlier text, one that stays, that it is most similar to."""
    similarity: float
    """Runs of words that both have / runs that one of them has (Jaccard)."""


def near_duplicates(
    texts: Sequence[str], similarity: float, n: int, advance: Callable[[int], None] = lambda _: None
) -> list[NearDuplicate]:
    """The texts that are at least so similar to an earlier one that stays, in their order.

    Args:
        texts: in the order in which the first of a cluster is kept.
        similarity: more than 0, at most 1.
        n: words of a run.
        advance: is told of each text.
    """
    from datasketch import MinHash, MinHashLSH  # With scipy, which commands that compare nothing need not load.

    index = MinHashLSH(num_perm=PERMUTATIONS, params=bands(similarity))
    kept: dict[int, set[tuple[str, ...]]] = {}
    found = []
    for number, text in enumerate(texts):
        runs = word_runs(text, n)
        mark = MinHash(PERMUTATIONS, seed=1)
        mark.update_batch([" ".join(run).encode() for run in sorted(runs)])
        near = [(_jaccard(runs, kept[other]), -other) for other in index.query(mark)]
        nearest, other = max(near, default=(0.0, 0))
        if nearest >= similarity:
            found.append(NearDuplicate(number, -other, nearest))
        else:
            kept[number] = runs
            index.insert(number, mark)
        advance(1)
    return found


def bands(similarity: float) -> tuple[int, int]:
    """(bands, permutations of each): the longest bands, which propose the fewest other pairs, of which a pair of this
    similarity shares one with the probability `RECALL`."""
    shapes = [(PERMUTATIONS // rows, rows) for rows in range(PERMUTATIONS // 2, 0, -1)]
    return next((b, r) for b, r in shapes if 1 - (1 - similarity**r) ** b >= RECALL or r == 1)


def _jaccard(a: set, b: set) -> float:
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)
