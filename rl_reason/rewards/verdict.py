"""What a grader says about a completion."""

from __future__ import annotations

from dataclasses import dataclass

VERDICTS = ("correct", "wrong", "unparseable", "timeout", "crash")
"""A grader returns one of the first three; the pool of workers adds "timeout" and "crash", which a grader that runs
programs says of these."""


@dataclass(frozen=True)
class Verdict:
    """A reward's score and the way to it."""

    score: float
    verdict: str
    """"correct", "wrong", or "unparseable": no answer was found, or it cannot be read."""
    extracted: str | None = None
    """The final answer that was judged, as written."""


class UnparseableGold(ValueError):
    """The problem's own answer cannot be read: nothing can be judged by it, so nothing gets a reward.

    Args:
        answer: or what else the problem is judged by.
        reason: in one line.
        what: it is.
        fault: of it.
    """

    def __init__(self, answer: str, reason: str = "", what: str = "own answer", fault: str = "cannot be read"):
        super().__init__(f"the problem's {what} {answer[:200]!r} {fault}{reason and ': '}{reason}")


def judged(correct: bool, extracted: str) -> Verdict:
    """Score 1 for a correct answer, 0 for a wrong one."""
    return Verdict(1.0, "correct", extracted) if correct else Verdict(0.0, "wrong", extracted)


def unparseable(extracted: str | None) -> Verdict:
    return Verdict(0.0, "unparseable", extracted)
