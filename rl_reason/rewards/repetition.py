"""A penalty on text that repeats itself."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

SIZE = 20
"""n: words and signs of an n-gram. Shorter ones come back in any longer calculation."""
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# Long runs are cut: a "word" of a million letters, or a page of blank lines, is repetition as well.
_UNITS = re.compile(rf"[{_CJK}]|[^\W{_CJK}]{{1,16}}|[^\w\s]|\s{{16}}")
_BASE = 0x9E3779B97F4A7C15


def repetition(completion: str, problem: Mapping) -> float:
    """−(share of the 20-grams that stood in the text before), from −1 to 0; 0 for a text without 20-grams.

    The n-gram repetition penalty of "Demystifying Long Chain-of-Thought Reasoning" (arXiv 2502.03373, appendix C,
    algorithm 1), as one number of a completion where the paper penalizes each repeated token. The n-grams are of words,
    signs, and single Chinese or Japanese characters. Takes time linear in the length of the text.
    """
    ids: dict[str, int] = {}
    units = [ids.setdefault(match[0], len(ids)) for match in _UNITS.finditer(completion)]
    if len(units) < SIZE:
        return 0.0
    count = len(units) - SIZE + 1
    # Polynomial hashes modulo 2^64 of all windows: two different ones are taken for the same with odds of 1 in 10^19.
    codes = np.array(units, np.uint64) * np.uint64(0xD1B54A32D192ED03) + np.uint64(1)
    hashes = np.zeros(count, np.uint64)
    for offset in range(SIZE):
        hashes = hashes * np.uint64(_BASE) + codes[offset : offset + count]
    return float(len(np.unique(hashes)) / count - 1)
