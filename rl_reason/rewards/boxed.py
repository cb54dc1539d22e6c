"""Equality of texts in a box, for answers that are to be written in one way only."""

from __future__ import annotations

from collections.abc import Mapping

from rl_reason.rewards.extraction import after_thought, last_boxed
from rl_reason.rewards.verdict import UnparseableGold, Verdict, judged, unparseable


def boxed_exact(completion: str, problem: Mapping) -> Verdict:
    """Whether the last `\\boxed{…}` behind the thought holds `problem["answer"]`, character for character.

    Runs of white space count as one space, and none at the ends. Without a box, or with an empty one, the completion is
    unparseable: nothing else marks an answer here.

    Raises:
        UnparseableGold: the problem's own answer is empty.
    """
    check_gold(problem)
    boxed = last_boxed(after_thought(completion) or "")
    if boxed is None or not boxed.strip():
        return unparseable(None)
    return judged(boxed.split() == problem["answer"].split(), boxed.strip())


def check_gold(problem: Mapping) -> None:
    """Raises `UnparseableGold` for an empty answer."""
    if not problem["answer"].strip():
        raise UnparseableGold(problem["answer"])


boxed_exact.check_gold = check_gold  # type: ignore[attr-defined]
