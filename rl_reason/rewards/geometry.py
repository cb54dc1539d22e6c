"""Auxiliary constructions for statements of plane geometry, graded by whether the engine then proves the goal.

What counts is the final answer, or all that follows the thought where nothing is marked as one: clauses in the
statement's language, separated by `;`, of new points (`geometry.statements.parse_auxiliary`).
"""

from __future__ import annotations

from collections.abc import Mapping

from rl_reason.geometry import engine
from rl_reason.geometry.statements import Statement, StatementError, parse_auxiliary, parse_statement
from rl_reason.rewards.extraction import final_answer, unmarked
from rl_reason.rewards.verdict import UnparseableGold, Verdict, judged, unparseable

LIMIT = 20.0
"""Seconds for a statement with its auxiliary clauses, where the settings name no limit."""


def geometry(completion: str, problem: Mapping, limit: float = LIMIT) -> Verdict:
    """Score 1 where the goal follows with the constructions of the completion, else 0; "timeout" where the engine
    needs more than `limit` seconds.

    Raises:
        UnparseableGold: `problem["problem"]` is no statement.
        MemoryError: the engine needs more than there is.
        RuntimeError: it fails.
    """
    statement = _statement(problem)
    text = final_answer(completion) or unmarked(completion).strip()
    try:
        clauses = parse_auxiliary(text, statement)
    except StatementError:
        return unparseable(text or None)
    result = engine.decide(statement.plus(clauses), limit)
    written = "; ".join(map(str, clauses))
    if result.result == "memory":
        raise MemoryError(result.message)
    if result.result == "failed":
        raise RuntimeError(result.message)
    if result.result == "time":
        return Verdict(0.0, "timeout", written)
    return judged(result.result == "solved", written)


def check_gold(problem: Mapping) -> None:
    """Raises `UnparseableGold` where the problem is no statement."""
    _statement(problem)


def _statement(problem: Mapping) -> Statement:
    text = problem.get("problem")
    if not isinstance(text, str):
        raise UnparseableGold(str(problem.get("answer")), f"`problem` is {type(text).__name__}; expected a statement")
    try:
        return parse_statement(text)
    except StatementError as error:
        raise UnparseableGold(str(problem.get("answer")), str(error)) from None


geometry.check_gold = check_gold  # type: ignore[attr-defined]
geometry.check = engine.check_package  # type: ignore[attr-defined]
geometry.prepare = engine.load_package  # type: ignore[attr-defined]
geometry.own_limit = LIMIT  # type: ignore[attr-defined]
