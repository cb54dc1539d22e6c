"""Evol-Instruct by a model (WizardLM, arXiv 2304.12244; for mathematics WizardMath, arXiv 2308.09583): what it is asked
to make of a problem, and how its reply is read. The wording is this project's own.

Which way of the line a problem takes is drawn from its id, so that a second round of it takes another.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

from rl_reason.data.word_runs import letters

UPWARD = (
    "Add one more condition or constraint, which has to be used to find the answer.",
    "Deepen it: ask for something that goes one level further into the same subject.",
    "Make it concrete: put a particular situation, with names and quantities, in place of what is general.",
    "Change it so that more steps of reasoning are needed, each of which builds on the one before.",
)
DOWNWARD = (
    "Make it easier: fewer conditions, simpler numbers, or one step of reasoning less.",
    "Leave it aside, and write another problem that is easier, on another topic of the same field.",
)
FORM = (
    "The new problem has to make sense by itself, with everything stated that is needed to solve it, and one answer. "
    "Do not speak of the given problem in it. Solve it to be sure of its answer. Then end with the new problem between "
    "<problem> and </problem>, and its answer alone between <answer> and </answer>."
)
_PARTS = re.compile(r"<problem>(.+?)</problem>\s*<answer>(.+?)</answer>\s*$", re.DOTALL)


def evolve_upward(problem: Mapping) -> list[dict]:
    """One user message that asks for a more difficult problem."""
    return _ask("more difficult", UPWARD, problem)


def evolve_downward(problem: Mapping) -> list[dict]:
    """One user message that asks for an easier problem."""
    return _ask("easier", DOWNWARD, problem)


def _ask(what: str, ways: Sequence[str], problem: Mapping) -> list[dict]:
    drawn = int.from_bytes(hashlib.sha256(f"{what}/{problem['id']}".encode()).digest()[:4]) % len(ways)
    content = (
        f"Here is a mathematical problem. Make a {what} one of it.\n\nProblem:\n{problem['problem']}\n\n"
        f"How: {ways[drawn]}\n\n{FORM}"
    )
    return [{"role": "user", "content": content}]


def evolved(completion: str, problem: Mapping) -> dict | None:
    """The new problem of a reply, `problem` and `answer` (`config.selection.rewrite`): the last one in it. None where
    it is not of the form that was asked for, or is the problem that was given: evolution has failed then."""
    found = _PARTS.search(completion[max(completion.rfind("<problem>"), 0) :])
    if not found:
        return None
    text, answer = (part.strip() for part in found.groups())
    if not text or not answer or letters(text) == letters(problem["problem"]):
        return None
    return {"problem": text, "answer": answer}
