"""Beam search over steps, guided by a model that scores them (arXiv 2408.03314, section 5.1)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from rl_reason.sampling.search import LENGTH, ROOT, Ask, Search, best


@dataclass(frozen=True)
class Beam:
    """The first step is drawn width · expansions times, and the best ones are kept; then each of these goes on in
    `expansions` ways, and the best of all, finished ones among them, are kept, until all of them are finished."""

    width: int = 4
    """Prefixes that are kept."""
    expansions: int = 4
    """Steps that are drawn behind each."""
    max_steps: int = 40
    """What has not ended then is cut off."""

    def __call__(self) -> Search:
        (drawn,) = yield Ask([ROOT], self.width * self.expansions)
        kept = best(drawn, self.width)
        for _ in range(self.max_steps - 1):
            asked = [prefix for prefix in kept if not prefix.finish]
            if not asked:
                break
            drawn = [prefix for family in (yield Ask(asked, self.expansions)) for prefix in family]
            kept = best([prefix for prefix in kept if prefix.finish] + drawn, self.width)
        return [prefix if prefix.finish else dataclasses.replace(prefix, finish=LENGTH) for prefix in kept]
