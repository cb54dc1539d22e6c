"""Texts as sets of runs of words, by which they are compared."""

from __future__ import annotations

import re

_CHARACTERS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_CHARACTERS}]|[^\W{_CHARACTERS}]+")
"""Chinese and Japanese set no spaces: each of their characters is a word."""


def words(text: str) -> list[str]:
    """Letters and digits between whatever else there is, in small letters; a text without any is one word."""
    return _WORD.findall(text.casefold()) or [text]


def word_runs(text: str, n: int) -> set[tuple[str, ...]]:
    """All runs of `n` words; of a text that is shorter, all of it as one run."""
    found = words(text)
    return {tuple(found[i : i + n]) for i in range(max(len(found) - n, 0) + 1)}


def letters(text: str) -> str:
    """All but letters and digits left out: two texts that are left with the same are the same text."""
    return "".join(words(text))
