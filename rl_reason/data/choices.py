"""Multiple choice: how choices stand in a problem's text, and the rows of GPQA and MMLU as problems."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def statement(problem: Mapping) -> str:
    """The problem's text, with its `choices` below it, one a line as "(A) …", unless it shows them already."""
    text, choices = problem["problem"], problem.get("choices")
    if not choices or _shows(text, choices):
        return text
    return with_choices(text, choices)


def with_choices(text: str, choices: Sequence[str]) -> str:
    return "\n".join([text, *(f"({letter}) {choice}" for letter, choice in zip(LETTERS, choices, strict=False))])


def _shows(text: str, choices: Sequence[str]) -> bool:
    """Whether each choice stands behind its letter: "(A) …", "A) …", "A. …" or "A: …"."""
    marked = (rf"(?:\({letter}\)|{letter}[).:])\s*{re.escape(c)}" for letter, c in zip(LETTERS, choices, strict=False))
    return all(re.search(rf"(?<!\w){one}", text) for one in marked)


def mmlu_problem(row: Sequence[str], split: str, subject: str, index: int) -> dict:
    """A line of MMLU's `<subject>_<split>.csv`: question, four choices, the letter of the right one.

    Raises:
        ValueError: it is anything else.
    """
    if len(row) != 6 or row[5].strip() not in tuple("ABCD"):
        raise ValueError(f"expected a question, four choices and a letter, found {len(row)} columns")
    choices = [choice.strip() for choice in row[1:5]]
    return {
        "id": f"mmlu/{split}/{subject}/{index:04d}",
        "problem": with_choices(row[0].strip(), choices),
        "answer": row[5].strip(),
        "choices": choices,
        "subject": subject,
        "source": f"mmlu_{split}",
    }


def gpqa_problem(row: Mapping[str, str]) -> dict:
    """A row of `gpqa_diamond.csv`. The right answer stands there always first: choices are put in an order that
    depends on the row's id only, the same in every run.

    Raises:
        ValueError: a column is missing or empty.
    """
    columns = ("Record ID", "Question", "Correct Answer", *(f"Incorrect Answer {i}" for i in (1, 2, 3)))
    values = [(row.get(name) or "").strip() for name in columns]
    if not all(values):
        raise ValueError(f"no {columns[values.index('')]!r}")
    id, question, *answers = values
    order = sorted(range(4), key=lambda i: hashlib.sha256(f"{id}/{i}".encode()).digest())
    choices = [answers[i] for i in order]
    return {
        "id": f"gpqa/{id}",
        "problem": with_choices(question, choices),
        "answer": LETTERS[order.index(0)],
        "choices": choices,
        "subject": (row.get("Subdomain") or "").strip(),
        "source": "gpqa_diamond",
    }
