"""Which questions a step asks: in their order, or by what was measured of them.

`draw(step)` says what is asked, `tell(step, …)` how it went. The two need not take turns: what is told counts from the
next draw on, and what was drawn and is not told of yet is taken for asked.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from rl_reason.data.iterators import EncodedPrompt, permutations, prompt_iterator
from rl_reason.errors import RunError, UsageError
from rl_reason.settings import Prompts


class Questions(Protocol):
    """Batches of questions without end, whose state is small and JSON-serialisable."""

    def draw(self, step: int, number: int = 0) -> list[EncodedPrompt]:
        """What a step asks; `number` tells its draws apart, of which it may have several."""

    def tell(self, step: int, asked: Sequence[EncodedPrompt], passes_Q: np.ndarray, samples: int) -> dict[str, float]:
        """Takes down how many of the `samples` completions of each question were right; metrics."""

    def get_state(self) -> dict[str, Any]: ...

    def set_state(self, state: dict[str, Any]) -> None: ...


def make_questions(
    prompts: Sequence[EncodedPrompt], first_steps: Sequence[int], batch_size: int, seed: int, settings: Prompts
) -> Questions:
    """Batches of `batch_size` different prompts.

    Args:
        prompts: all there are.
        first_steps: of each, the step from which on it takes part (`config.data.joins`).
        batch_size: Q, questions of a draw.
        seed: of the run.
        settings: how they are selected.

    Raises:
        UsageError: fewer than Q take part in the first step.
    """
    if settings.select == "none" and max(first_steps) <= 1:
        return _InOrder(prompts, batch_size, seed)
    return Selection(prompts, first_steps, batch_size, seed, settings)


class _InOrder:
    """One permutation after another, whatever comes of it."""

    def __init__(self, prompts: Sequence[EncodedPrompt], batch_size: int, seed: int):
        self._iterator = prompt_iterator(prompts, batch_size, seed)
        self.get_state, self.set_state = self._iterator.get_state, self._iterator.set_state

    def draw(self, step: int, number: int = 0) -> list[EncodedPrompt]:
        return next(self._iterator)

    def tell(self, step: int, asked: Sequence[EncodedPrompt], passes_Q: np.ndarray, samples: int) -> dict[str, float]:
        return {}


class Selection:
    """Questions by their measured pass rates. Of each of the N there is known: when it was asked last, its pass rate,
    and how many completions in a row were all right or all wrong.

    Randomness is derived from seed, step and number of the draw. All hosts that are told alike draw alike. The state
    holds the measurements, and what was drawn as asked: who draws ahead of what is saved keeps the drawn ones.
    """

    def __init__(
        self,
        prompts: Sequence[EncodedPrompt],
        first_steps: Sequence[int],
        batch_size: int,
        seed: int,
        settings: Prompts,
    ):
        self._prompts, self._size, self._seed, self._settings = prompts, batch_size, seed, settings
        self._first_N = np.asarray(first_steps)
        there = int((self._first_N <= 1).sum())
        if not 0 < batch_size <= there:
            raise UsageError(
                f"config.algorithm.batch_size / group_size={batch_size} problems a step: {there} of the {len(prompts)} "
                f"of config.data.name take part in the first; expected 1 to {there}"
            )
        self._place_of = {prompt.index: place for place, prompt in enumerate(prompts)}
        self._order = functools.lru_cache(maxsize=2)(permutations(len(prompts), seed))
        self._begin()

    def _begin(self) -> None:
        count = len(self._prompts)
        self._walked = 0
        """Places of the permutations, one behind the other, that were passed."""
        self._asked_N = np.zeros(count, np.int64)
        """The step that asked last; 0: none has."""
        self._rate_N = np.full(count, np.nan)
        self._streak_N = np.zeros(count, np.int64)
        """Completions up to now that were all right, or (negative) all wrong; 0: the last group had both."""

    def draw(self, step: int, number: int = 0) -> list[EncodedPrompt]:
        """Q different questions; none that this step has asked before, while there are others."""
        settings, size = self._settings, self._size
        joined_N = self._first_N <= step
        free_N = joined_N & (self._asked_N != step)
        if settings.select in ("weights", "buckets"):
            new_N = free_N & (self._asked_N == 0)
            taken = self._walk(max(round(settings.unmeasured * size), 1), new_N)
            measured_M = np.flatnonzero(free_N & ~np.isnan(self._rate_N))
            rng = np.random.default_rng((self._seed, step, number))
            chosen = systematic(self._weights(measured_M, step), size - len(taken), self._buckets(measured_M), rng)
            taken += measured_M[chosen].tolist()
            new_N[taken] = False
            taken += self._walk(size - len(taken), new_N)
        else:
            taken = self._walk(size, free_N & ~self._dropped(step))
        if len(taken) < size:  # Whose turn comes next, then.
            joined_N[taken] = False
            others = np.flatnonzero(joined_N)
            taken += others[np.argsort(self._asked_N[others], kind="stable")][: size - len(taken)].tolist()
        self._asked_N[taken] = step
        return [self._prompts[place] for place in taken]

    def tell(self, step: int, asked: Sequence[EncodedPrompt], passes_Q: np.ndarray, samples: int) -> dict[str, float]:
        """Takes down how many of the `samples` completions of each question of a step, all its draws together, were
        right; NaN: nobody knows, and it stays as it was. The metrics of what was drawn are by what was known before."""
        places_Q = np.array([self._place_of[prompt.index] for prompt in asked])
        known = places_Q[~np.isnan(self._rate_N[places_Q])]
        counts = np.bincount(self._buckets(known), minlength=len(self._settings.edges) + 1)
        metrics = {"prompts/unmeasured": 1 - len(known) / len(asked)}
        metrics |= {f"prompts/bucket_{bucket}": count / len(asked) for bucket, count in enumerate(counts)}
        if len(known):
            metrics["prompts/rate"] = self._rate_N[known].mean()
        for place, passes in zip(places_Q, passes_Q, strict=True):
            if not np.isnan(passes):
                self._measure(place, int(passes), samples)
        metrics["prompts/measured"] = (~np.isnan(self._rate_N)).sum()
        metrics["prompts/joined"] = (self._first_N <= step).sum()
        if self._settings.select == "drop":
            metrics["prompts/dropped"] = self._dropped(step + 1).sum()
        return {name: float(value) for name, value in metrics.items()}

    def _measure(self, place: int, passes: int, samples: int) -> None:
        memory, before = self._settings.memory, self._rate_N[place]
        now = passes / samples
        self._rate_N[place] = now if np.isnan(before) else memory * before + (1 - memory) * now
        sign = {0: -1, samples: 1}.get(passes, 0)
        streak = self._streak_N[place] if self._streak_N[place] * sign > 0 else 0
        self._streak_N[place] = streak + sign * samples if sign else 0

    def get_state(self) -> dict[str, Any]:
        """Of the questions that were asked, and how far the permutations were walked."""
        asked = np.flatnonzero(self._asked_N)
        rates = self._rate_N[asked].tolist()
        return {
            "count": len(self._prompts),
            "walked": self._walked,
            "questions": asked.tolist(),
            "asked": self._asked_N[asked].tolist(),
            "rate": [None if rate != rate else rate for rate in rates],  # JSON has no NaN.
            "streak": self._streak_N[asked].tolist(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on behind the state; raises `RunError` where it is that of other questions."""
        if state["count"] != len(self._prompts):
            raise RunError(
                f"config.data.name: has {len(self._prompts)} problems with a prompt; expected the {state['count']} "
                "whose pass rates the checkpoint holds"
            )
        self._begin()
        self._walked, asked = state["walked"], np.array(state["questions"], np.int64)
        self._asked_N[asked], self._streak_N[asked] = state["asked"], state["streak"]
        self._rate_N[asked] = np.array(state["rate"], np.float64)  # None becomes NaN.

    def _walk(self, count: int, allowed_N: np.ndarray) -> list[int]:
        """The next so many that are allowed, in the order of the permutations; fewer where there are not so many."""
        count = min(count, int(allowed_N.sum()))
        taken: list[int] = []
        left_N = allowed_N.copy()
        while len(taken) < count:
            epoch, begin = divmod(self._walked, len(left_N))
            order = self._order(epoch)[begin:]
            found = np.flatnonzero(left_N[order])[: count - len(taken)]
            taken += order[found].tolist()
            left_N[order[found]] = False
            self._walked += int(found[-1]) + 1 if len(taken) == count else len(order)
        return taken

    def _dropped(self, step: int) -> np.ndarray:
        """Bool [N]: what `step` does not ask, as its completions were all right, or all wrong."""
        settings = self._settings
        if settings.select != "drop":
            return np.zeros(len(self._prompts), bool)
        return (abs(self._streak_N) >= settings.drop_after) & (self._asked_N + settings.drop_steps >= step)

    def _buckets(self, places_M: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._settings.edges, self._rate_N[places_M], side="right")

    def _weights(self, places_M: np.ndarray, step: int) -> np.ndarray:
        """How likely each of the questions is to be drawn, float64 [M], up to a factor."""
        settings, rates_M = self._settings, self._rate_N[places_M]
        if settings.select == "weights":
            weights_M = rates_M * (1 - rates_M)
        else:
            shares = np.array([shares for start, shares in settings.shares if start <= step][-1], np.float64)
            buckets_M = self._buckets(places_M)
            weights_M = shares[buckets_M] / np.bincount(buckets_M, minlength=len(shares))[buckets_M]
        if not weights_M.any():
            return np.ones(len(places_M))
        return (1 - settings.floor) * weights_M / weights_M.sum() + settings.floor / len(places_M)


def systematic(weights_M: np.ndarray, count: int, strata_M: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws `count` different ones of M, each with probability count · w / Σw; where that is 1 or more, surely, and the
    others share what is left (systematic sampling, Madow 1949, in an order drawn within strata).

    So of each stratum, in its order, as many are drawn as its weight says, but for less than one. Of the ones without
    weight none is, though there be fewer than `count` others.

    Returns:
        Their places, int [≤ count].
    """
    order = np.lexsort((rng.random(len(weights_M)), strata_M))
    order = order[weights_M[order] > 0]
    surely: list[int] = []
    while len(order):
        share = (count - len(surely)) * weights_M[order] / weights_M[order].sum()
        is_sure = share >= 1 - 1e-9
        if not is_sure.any():
            break
        surely += order[is_sure].tolist()
        order = order[~is_sure]
    left = count - len(surely)
    if not len(order) or not left:
        return np.array(surely, np.int64)
    ends = np.cumsum(weights_M[order])
    drawn = np.searchsorted(ends, ends[-1] * (rng.random() + np.arange(left)) / left, side="right")
    return np.array([*surely, *order[np.minimum(drawn, len(order) - 1)]], np.int64)


def check_buckets(edges: tuple, shares: tuple, needed: bool) -> None:
    """Checks `config.prompts.edges`, and `config.prompts.shares` where they are needed.

    Raises:
        UsageError: edges that do not rise between 0 and 1; stages whose first steps do not rise from 0, or whose shares
            are not one for each bucket, 0 or more, which sum up to 1.
    """
    is_number = lambda x: isinstance(x, (int, float)) and not isinstance(x, bool)  # noqa: E731
    if not all(is_number(edge) and 0 < edge < 1 for edge in edges) or list(edges) != sorted(set(edges)):
        raise UsageError(f"config.prompts.edges={edges!r}: expected pass rates that rise, between 0 and 1")
    if not needed:
        return
    buckets = len(edges) + 1
    line = (
        f"config.prompts.shares={shares!r}: expected ((first step, (a share of each of {buckets} buckets, hard ones "
        "first)), …), the first at step 0, shares that sum up to 1"
    )
    try:
        starts = [start for start, _ in shares]
        stages = [list(of_buckets) for _, of_buckets in shares]
    except (TypeError, ValueError) as error:
        raise UsageError(line) from error
    if not all(isinstance(start, int) for start in starts) or starts[:1] != [0] or starts != sorted(set(starts)):
        raise UsageError(line)
    for stage in stages:
        right = len(stage) == buckets and all(is_number(share) and share >= 0 for share in stage)
        if not right or abs(sum(stage) - 1) > 1e-6:
            raise UsageError(line)
