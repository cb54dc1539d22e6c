"""The principles by which a model criticizes, revises and compares answers (Constitutional AI, arXiv 2212.08073).

A file has one JSON object a line, a principle, with three texts: `critique` and `revision`, what the model is asked
about an answer of its own, one after the other (appendix C.1), and `choice`, what it is asked about two answers
(appendix C.2).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from rl_reason.data.jsonl import check_texts, read_jsonl
from rl_reason.errors import UsageError


@dataclass(frozen=True)
class Principle:
    critique: str
    revision: str
    choice: str


KEYS = tuple(field.name for field in fields(Principle))


def read_constitution(path: Path) -> list[Principle]:
    """The principles of a file, in order; what else a row has is left alone.

    Raises:
        UsageError: no such file, not UTF-8, a text that is missing, or no principles; names the file and the line.
    """
    principles = []
    for line, row in read_jsonl(path):
        check_texts(path, line, row, KEYS)
        principles.append(Principle(**{key: row[key] for key in KEYS}))
    if not principles:
        raise UsageError(f"{path}: holds no principles; expected rows with {', '.join(f'`{key}`' for key in KEYS)}")
    return principles


def draw(principles: Sequence[Principle], seed: int, place: str) -> Principle:
    """The principle of a place, such as the id of an answer: the same for the same seed, whatever else is asked."""
    return random.Random(f"constitution/{seed}/{place}").choice(principles)
