"""Pairs of completions of a prompt, one of which is preferred: read from a file, or made of what was sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rl_reason.data.iterators import EncodedPrompt
from rl_reason.data.jsonl import check_texts, read_jsonl
from rl_reason.errors import UsageError


@dataclass(frozen=True)
class Pair:
    """Completions as tokens with their ends."""

    prompt: EncodedPrompt
    chosen: list[int]
    rejected: list[int]


def read_preferences(path: Path) -> list[dict]:
    """Rows with the strings `problem`, `chosen` and `rejected`; one without `id` gets its line number.

    Raises:
        UsageError: names the file and the line.
    """
    rows = []
    for line, row in read_jsonl(path):
        check_texts(path, line, row, ("problem", "chosen", "rejected"))
        if row["chosen"] == row["rejected"]:
            raise UsageError(f"{path}, line {line}: `chosen` and `rejected` are the same; expected two that differ")
        rows.append({"id": str(line), **row})
    if not rows:
        raise UsageError(f"{path}: holds no pairs; expected rows with `problem`, `chosen` and `rejected`")
    return rows


def pair_records(records: Sequence[dict], threshold: float, most: int) -> list[tuple[dict, dict]]:
    """Of the records of one question (`recipes.collecting`) pairs of a right one, of at least so much reward, that ends
    and a wrong one: the first with the first and so on, no completion twice, at most `most` of them. Whose reward
    failed is neither."""
    right: dict[tuple[int, ...], dict] = {}
    wrong: dict[tuple[int, ...], dict] = {}
    for record in records:
        if "failure" in record:
            continue
        if record["reward"] < threshold:
            wrong.setdefault(tuple(record["tokens"]), record)
        elif record["finish"] == "stop":
            right.setdefault(tuple(record["tokens"]), record)
    return list(zip(right.values(), wrong.values(), strict=False))[:most]
