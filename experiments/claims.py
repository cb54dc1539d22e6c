"""What a paper shows, as a number that was measured here lies on one side of a bound or not, and how sure that is.

Each experiment has its claims in `claims.py` beside its results; `experiments.results` puts them into one table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.methods.run import interval
from rl_reason.rewards.estimators import wilson_interval

NEAR = 5.0
"""Points of accuracy within which two methods count as equally good, where a paper says so without a number."""
NONE = "–"


@dataclass(frozen=True)
class Claim:
    """A row of the table, all cells as text."""

    what: str
    """The number, and the bounds between which it is claimed to lie."""
    paper: str
    """What the paper gives, and where."""
    here: str
    interval: str
    n: str
    """What the interval is over."""
    holds: str
    """"yes", "no" or "undecided"."""


@dataclass(frozen=True)
class Bounds:
    """Between which a number is claimed to lie, both left out."""

    above: float = -math.inf
    below: float = math.inf

    def __str__(self) -> str:
        if math.isinf(self.below):
            return f"> {_number(self.above)}"
        if math.isinf(self.above):
            return f"< {_number(self.below)}"
        return f"between {_number(self.above)} and {_number(self.below)}"

    def judge(self, low: float, high: float) -> str:
        """What an interval says: whether it lies between the bounds as a whole, or outside as a whole."""
        if math.isnan(low) or math.isnan(high):
            return "undecided"
        if self.above < low and high < self.below:
            return "yes"
        return "no" if high <= self.above or low >= self.below else "undecided"


MORE, LESS, SAME = Bounds(above=0), Bounds(below=0), Bounds(-NEAR, NEAR)


def over_seeds(
    what: str, paper: str, values: Sequence[float], bounds: Bounds = MORE, scale: float = 100, digits: int = 1
) -> Claim:
    """A mean over seeds with its 95% interval by Student's t; a single seed decides nothing.

    Args:
        what: the number; its unit, where it is not points of accuracy.
        paper: what the paper gives.
        values: one of each seed; of a comparison the differences, paired by seed.
        bounds: in the unit that is printed.
        scale: what values are multiplied by.
        digits: behind the point.
    """
    middle, width = interval([scale * value for value in values])
    seeds = f"{len(values)} seed{'s' * (len(values) > 1)}"
    return _claim(what, paper, middle, (middle - width, middle + width), seeds, bounds, digits)


def over_problems(what: str, paper: str, value: float, ci95: Sequence[float], n: int, bounds: Bounds = MORE) -> Claim:
    """A share, or a difference of shares, whose bootstrap interval over `n` problems stands among the results."""
    low, high = ci95
    return _claim(what, paper, 100 * value, (100 * low, 100 * high), f"{n} problems", bounds, 1)


def of_all(what: str, paper: str, count: int, n: int, bounds: Bounds) -> Claim:
    """A share in percent, `count` of `n`, with Wilson's interval."""
    low, high = wilson_interval(count, n)
    made = _claim(what, paper, 100 * count / n, (100 * low, 100 * high), f"{n:,}", bounds, 2, sign="")
    return Claim(made.what, made.paper, f"{made.here}% ({count:,})", made.interval, made.n, made.holds)


def exact(what: str, paper: str, value: float, n: str, bounds: Bounds, digits: int = 0) -> Claim:
    """A number that was not sampled: it is what it is."""
    made = _claim(what, paper, value, (value, value), n, bounds, digits, sign="")
    return Claim(made.what, made.paper, made.here, NONE, made.n, made.holds)


def _claim(
    what: str, paper: str, value: float, ends: tuple[float, float], n: str, bounds: Bounds, digits: int, sign: str = "+"
) -> Claim:
    ending = NONE if math.isnan(ends[0]) else f"[{', '.join(_number(end, digits, sign) for end in ends)}]"
    return Claim(f"{what} {bounds}", paper, _number(value, digits, sign), ending, n, bounds.judge(*ends))


def _number(value: float, digits: int | None = None, sign: str = "") -> str:
    if digits is None:
        return f"{value:g}".replace("-", "−")
    # What rounds to zero has no sign.
    return f"{value:{sign if round(value, digits) else ''}z.{digits}f}".replace("-", "−")
