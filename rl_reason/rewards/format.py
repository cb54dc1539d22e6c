"""The format reward of DeepSeek-R1-Zero (arXiv 2501.12948, section 2.2.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping

_TAGS = ("<think>", "</think>", "<answer>", "</answer>")
_SHAPE = re.compile(r"\s*<think>.*</think>\s*<answer>(.*)</answer>\s*", re.DOTALL)


def format_reward(completion: str, problem: Mapping) -> float:
    """1.0 for `<think>…</think> <answer>…</answer>`, else 0.0.

    Each tag stands there once and in this order, nothing but white space around them, and the answer is not empty.
    """
    if any(completion.count(tag) != 1 for tag in _TAGS):
        return 0.0
    match = _SHAPE.fullmatch(completion)
    return 1.0 if match and match[1].strip() else 0.0
