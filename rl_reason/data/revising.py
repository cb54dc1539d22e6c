"""What a model is asked about its own answers: to criticize one by a principle, then to revise it (Constitutional AI,
arXiv 2212.08073, section 3.1).

Both make of each record of a folder of samples (`data.generated`) a problem with `turns`, what was said so far, the
user first: its template (`data.templates.chat`) shows these. A sample of the second answers the first turn anew, and
may be criticized in its turn: so many rounds as there are stages.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from rl_reason.data.constitution import Principle, draw
from rl_reason.data.generated import problem_of
from rl_reason.errors import UsageError

log = logging.getLogger(__name__)


def to_criticize(record: Mapping, principles: Sequence[Principle], seed: int) -> dict:
    """The request to criticize an answer by the principle that its id draws; `revision_request` waits beside it."""
    row = problem_of(record)
    principle = draw(principles, seed, row["id"])
    turns = [record["problem"], record["completion"], principle.critique]
    return row | {"turns": turns, "revision_request": principle.revision}


def to_revise(record: Mapping, principles: Sequence[Principle], seed: int) -> dict:
    """The request to revise an answer, behind the critique that the record's completion is."""
    row = problem_of(record)
    if "revision_request" not in record:
        raise UsageError(
            f"config.constitution.asks='revision': {row['id']!r} of config.data.name is no critique; expected the "
            "folder of a run with config.constitution.asks='critique'"
        )
    return row | {"turns": [*record["turns"], record["completion"], record["revision_request"]]}


ASKS: dict[str, Callable[[Mapping, Sequence[Principle], int], dict]] = {
    "critique": to_criticize,
    "revision": to_revise,
}


def ask(asks: str, records: Sequence[Mapping], principles: Sequence[Principle], seed: int, name: str) -> list[dict]:
    """The problems that ask about all records but those that hold nothing: empty ones, and those that a server refused;
    these are counted and listed.

    Args:
        asks: a key of `ASKS`.
        records: of a folder of samples.
        principles: read to criticize.
        seed: of their draw.
        name: of the folder, for what is told.

    Raises:
        UsageError: none is left, or they are not what can be asked about.
    """
    said = [record for record in records if record["completion"].strip()]
    if not said:
        raise UsageError(f"config.data.name={name!r}: all of its {len(records)} completions are empty; expected texts")
    if len(said) < len(records):
        empty = ", ".join(problem_of(record)["id"] for record in records if not record["completion"].strip())
        left_out = len(records) - len(said)
        log.warning("%s: left out %d of %d completions, which are empty: %s", name, left_out, len(records), empty)
    return [ASKS[asks](record, principles, seed) for record in said]
