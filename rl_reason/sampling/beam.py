"""Beam search over steps, guided by a model that scores them (arXiv 2408.03314, section 5.1)."""

from __future__ import annotations

from dataclasses import dataclass

from rl_reason.sampling.search import ROOT, Ask, Search, best


@dataclass(frozen=True)
class Beam:
    """The first step is drawn width · expansions times, and the best ones are kept; then each of these goes on in
    `expansions` ways, and the best of all, finished ones among them, are kept, until all of them are finished. Nothing
    but the limit of a solution's tokens ends one that goes on: each step has at least one."""

    width: int = 4
    """Prefixes that are kept."""
    expansions: int = 4
    """Steps that are drawn behind each."""

    def __call__(self) -> Search:
        (drawn,) = yield Ask([ROOT], self.width * self.expansions)
        kept = best(drawn, self.width)
        while asked := [prefix for prefix in kept if not prefix.finish]:
            drawn = [prefix for family in (yield Ask(asked, self.expansions)) for prefix in family]
            kept = best([prefix for prefix in kept if prefix.finish] + drawn, self.width)
        return kept
