"""Completions that were generated before, by a teacher or anyone: a file of rows with `problem` and `completion`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rl_reason.data.iterators import EncodedPrompt
from rl_reason.data.jsonl import check_texts, read_jsonl
from rl_reason.errors import UsageError

FINISHES = ("stop", "length")


@dataclass(frozen=True)
class Completion:
    """A completion of a prompt, as tokens."""

    prompt: EncodedPrompt
    ids: list[int]
    """With its end, but where it was cut off."""
    finished: bool


def read_completions(path: Path) -> list[dict]:
    """Rows with the strings `problem` and `completion`, and `finish`, "stop" where they say nothing; one without `id`
    gets its line number.

    Raises:
        UsageError: names the file and the line.
    """
    rows = []
    for line, row in read_jsonl(path):
        check_texts(path, line, row, ("problem", "completion"))
        made = {"id": str(line), "finish": "stop", **row}
        if made["finish"] not in FINISHES:
            raise UsageError(f"{path}, line {line}: {made['finish']!r:.40} as `finish`; expected 'stop' or 'length'")
        rows.append(made)
    if not rows:
        raise UsageError(f"{path}: holds no completions; expected rows with `problem` and `completion`")
    return rows
