"""Search over the steps of a solution: what a search is, and how many of them advance together.

A search is a generator for one problem, and pure: it yields an `Ask` (which prefixes are to go on, how often), is sent
what was drawn with its scores, and returns the solutions that it has found. It knows neither the policy nor the model
that scores. `run` puts together what all searches ask for, so that a batch of problems costs as many calls as its
longest search has rounds; what one search sees does not depend on the others.

The kinds are `beam.Beam` and `tree.Tree`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

STOP, LENGTH = "stop", "length"


@dataclass(frozen=True)
class Step:
    """What the policy has drawn behind a prefix."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Of each token, as the sampler gives them."""
    finish: str = ""
    """"stop": it ends the solution, "length": the limit does, "": more can follow."""


@dataclass(frozen=True)
class Prefix:
    """The beginning of a solution, or all of it."""

    path: tuple[int, ...] = ()
    """Which sample was taken behind each prefix, from the prompt on. It seeds what is drawn next."""
    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    finish: str = ""
    """As of its last step."""
    score: float = 0.0
    """What the model that scores says of it, 0 to 1; the prompt alone has none."""
    draws: int = 1
    """How many samples behind the same prefix were this one."""
    share: float = 1.0
    """Product of the shares that its steps had of those drawn: an estimate of how probable the policy finds it."""


ROOT = Prefix()
"""The prompt alone."""


@dataclass(frozen=True)
class Ask:
    """Please go on."""

    prefixes: Sequence[Prefix]
    """From each of them, none of which is finished,"""
    count: int
    """so many times,"""
    to_end: bool = False
    """to the end of the solution, or else by one step."""


Search = Generator[Ask, "list[list[Prefix]]", "list[Prefix]"]
"""Is sent, for each prefix that it asked for, what goes on from there: different ones, in the order in which they were
drawn. Returns solutions, the best one first."""
Expand = Callable[["Sequence[tuple[int, Prefix]]", int, bool], "list[list[Step]]"]
"""(problem and prefix, samples of each, whether to the end) → the samples."""
Score = Callable[["Sequence[tuple[int, Prefix]]"], "Sequence[float]"]


@dataclass(frozen=True)
class Outcome:
    """What the search for one problem has found."""

    solutions: list[Prefix]
    """The best one first; at least one."""
    spent: int
    """Tokens that the policy drew, each sample counted, also where two are the same."""
    scored: int
    """Tokens behind the prompt that the model that scores has read."""


DIGITS = 5
"""Of a score. Solutions often share the step that decides it; which of them comes first shall not be said by the last
bits, which are others in a batch of another shape."""


def best(prefixes: Sequence[Prefix], count: int) -> list[Prefix]:
    """Those with the highest scores, highest first; among equal ones those that were asked for first."""
    return sorted(prefixes, key=lambda prefix: -prefix.score)[:count]


def run(searches: Mapping[int, Search], expand: Expand, score: Score) -> dict[int, Outcome]:
    """Runs searches to their ends, all together.

    Args:
        searches: by the number of their problem.
        expand: draws; called once a round for each `count` and `to_end` that is asked for.
        score: of prefixes, 0 to 1; called as often.
    """
    asked = {problem: next(search) for problem, search in searches.items()}
    spent, scored = dict.fromkeys(searches, 0), dict.fromkeys(searches, 0)
    found: dict[int, list[Prefix]] = {}
    while asked:
        answers: dict[int, list[list[Prefix]]] = {}
        for count, to_end in dict.fromkeys((ask.count, ask.to_end) for ask in asked.values()):
            members = [p for p, ask in asked.items() if (ask.count, ask.to_end) == (count, to_end)]
            parents = [(p, prefix) for p in members for prefix in asked[p].prefixes]
            drawn = expand(parents, count, to_end)
            families = [_continue(prefix, steps) for (_, prefix), steps in zip(parents, drawn, strict=True)]
            flat = [(p, child) for (p, _), family in zip(parents, families, strict=True) for child in family]
            scores = iter(score(flat))
            for (p, _), steps, family in zip(parents, drawn, families, strict=True):
                spent[p] += sum(len(step.tokens) for step in steps)
                scored[p] += sum(len(child.tokens) for child in family)
                answers.setdefault(p, []).append(
                    [dataclasses.replace(child, score=round(float(next(scores)), DIGITS)) for child in family]
                )
        for p, answer in answers.items():
            try:
                asked[p] = searches[p].send(answer)
            except StopIteration as end:
                found[p] = end.value
                del asked[p]
    return {p: Outcome(found[p], spent[p], scored[p]) for p in searches}


def _continue(prefix: Prefix, steps: Sequence[Step]) -> list[Prefix]:
    """The prefix with each of the steps behind it. Equal ones are one: what follows them would be drawn and scored
    twice."""
    made: dict[tuple[int, ...], Prefix] = {}
    for i, step in enumerate(steps):
        same = made.get(step.tokens)
        made[step.tokens] = Prefix(
            path=same.path if same else (*prefix.path, i),
            tokens=(*prefix.tokens, *step.tokens),
            logprobs=same.logprobs if same else (*prefix.logprobs, *step.logprobs),
            finish=step.finish,
            draws=same.draws + 1 if same else 1,
            share=(same.share if same else 0.0) + prefix.share / len(steps),
        )
    return list(made.values())
