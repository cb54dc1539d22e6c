"""Auxiliary constructions for statements of plane geometry, graded by whether the engine then proves the goal.

What counts is the final answer, or all that follows the thought where nothing is marked as one: clauses in the
statement's language, separated by `;`, of new points (`geometry.statements.parse_auxiliary`).
"""

from __future__ import annotations

import functools
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

    Where no figure is found with the clauses they are wrong; where none is found of the statement alone, with the same
    random numbers, nothing is known of them.

    Raises:
        UnparseableGold: `problem["problem"]` is no statement.
        MemoryError: the engine needs more than there is.
        RuntimeError: it fails, or no figure of the statement is found.
    """
    statement = _statement(problem)
    text = final_answer(completion) or unmarked(completion).strip()
    try:
        clauses = parse_auxiliary(text, statement)
    except StatementError:
        return unparseable(text or None)
    whole = statement.plus(clauses)
    result = engine.decide(whole, limit)
    written = "; ".join(map(str, clauses))
    if result.result == "memory":
        raise MemoryError(result.message)
    if result.result == "failed":
        raise RuntimeError(result.message)
    if result.result == "cannot be constructed" and (reason := engine.no_figure(statement, like=whole)):
        raise RuntimeError(f"the statement cannot be constructed: {reason}")
    if result.result == "time":
        return Verdict(0.0, "timeout", written)
    return judged(result.result == "solved", written)


def check_gold(problem: Mapping) -> None:
    """Raises `UnparseableGold` where the problem is no statement, or one of which no figure is found.

    Takes milliseconds: to draw a statement is quick, to prove it is not.
    """
    if reason := _no_figure(_statement(problem)):
        raise UnparseableGold(problem["problem"], reason, "statement", "cannot be constructed")


@functools.lru_cache(maxsize=10_000)
def _no_figure(statement: Statement) -> str:
    """Rows that are graded have the same statement many times."""
    return engine.no_figure(statement)


def _statement(problem: Mapping) -> Statement:
    text = problem.get("problem")
    if not isinstance(text, str):
        reason = f"got {type(text).__name__}, expected CLAUSES ? GOAL"
        raise UnparseableGold(str(text), reason, "statement")
    try:
        return parse_statement(text)
    except StatementError as error:
        raise UnparseableGold(text, str(error), "statement") from None


check_gold.prepare = engine.load_package  # type: ignore[attr-defined]
geometry.check_gold = check_gold  # type: ignore[attr-defined]
geometry.check = engine.check_package  # type: ignore[attr-defined]
geometry.prepare = engine.load_package  # type: ignore[attr-defined]
geometry.own_limit = LIMIT  # type: ignore[attr-defined]
