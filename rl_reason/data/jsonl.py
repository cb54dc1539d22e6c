"""Files with one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rl_reason.errors import UsageError


def read_jsonl(path: Path) -> list[tuple[int, dict]]:
    """(line number from 1, object) for each line that is not blank.

    Raises:
        UsageError: no such file, not UTF-8, or a line that is not one JSON object.
    """
    try:
        lines = path.read_bytes().split(b"\n")  # not splitlines: U+2028 and its like may stand inside a string
    except OSError as error:
        raise UsageError(f"{path}: cannot read it: {error.strerror}; expected one JSON object a line") from None
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}, line {number}: {_brief(error)}; expected one JSON object a line") from None
        if not isinstance(row, dict):
            raise UsageError(f"{path}, line {number}: got {type(row).__name__}, expected a JSON object")
        rows.append((number, row))
    return rows


def check_texts(path: Path, line: int, row: dict, keys: Sequence[str]) -> None:
    """Raises `UsageError` unless the row has text under all of these keys."""
    for key in keys:
        value = row.get(key)
        if not isinstance(value, str) or not value.strip():
            got = "no" if key not in row else f"{value!r:.40} as"
            raise UsageError(f"{path}, line {line}: {got} `{key}`; expected a non-empty string")
        if not is_unicode(value):
            raise UsageError(
                f"{path}, line {line}: `{key}` holds half a character (a lone surrogate); expected Unicode text"
            )


def is_unicode(text: str) -> bool:
    """Whether no half of a character stands alone, as JSON's escapes may write it: no tokenizer takes that."""
    return not any("\ud800" <= c <= "\udfff" for c in text)


def _brief(error: Exception) -> str:
    return f"not JSON ({error.msg})" if isinstance(error, json.JSONDecodeError) else str(error) or type(error).__name__
