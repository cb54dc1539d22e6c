"""Mathematical equality of answers, by math-verify.

A model's text goes through math-verify's grammar of LaTeX only. Its reader of plain expressions hands the text to
`sympy.parse_expr`, and so to Python's `eval`: that one is never used.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Mapping
from typing import Any

from rl_reason.rewards.extraction import final_answer
from rl_reason.rewards.numeric import parse_number
from rl_reason.rewards.verdict import UnparseableGold, Verdict, judged, unparseable

_LONGEST = 1000
"""Characters of an answer; the grammar takes far more than linear time, and no answer is as long."""
_PLAIN = re.compile(r"[-+]?[0-9]+")
_BASE = re.compile(r"\d_\{?(\d+)\}?$")
_DELIMITERS = re.compile(r"(?<!\\)\$|\\[()\[\]]")
_THOUSANDS = re.compile(r",\\!(?=[0-9]{3})")


def accuracy(completion: str, problem: Mapping) -> Verdict:
    """Whether the final answer equals `problem["answer"]` mathematically.

    Raises:
        UnparseableGold: the problem's own answer cannot be parsed; such a problem never gives reward.
    """
    extracted = final_answer(completion)
    if extracted is None:
        return unparseable(None)
    gold = problem["answer"]
    if equal_integers := _compare_integers(gold, extracted):
        return judged(equal_integers == "equal", extracted)
    gold_value = _parse(gold)
    if gold_value is None:
        raise UnparseableGold(gold)
    value = _parse(extracted)
    if value is None:
        return unparseable(extracted)
    return judged(_same_base(gold, extracted) and _verify(gold_value, value), extracted)


def _compare_integers(gold: str, extracted: str) -> str:
    """Says "equal" or "different" where both are plain integers, which most answers are; else empty."""
    if not (_PLAIN.fullmatch(gold) and _PLAIN.fullmatch(extracted)):
        return ""
    a, b = parse_number(gold), parse_number(extracted)
    if a is None or b is None:
        return ""
    return "equal" if a == b else "different"


def _same_base(gold: str, extracted: str) -> bool:
    """False where both numbers name their base and the bases differ: math-verify drops the subscript."""
    a, b = _BASE.search(gold.strip()), _BASE.search(extracted.strip())
    return not (a and b) or a[1] == b[1]


def _parse(text: str) -> Any | None:
    """A sympy expression; None for a text that is no mathematics."""
    text = _DELIMITERS.sub("", _THOUSANDS.sub("", text)).strip().rstrip(".").strip()
    # The text is put into one box: what would close it early, or open another, is not an answer.
    if not text or len(text) > _LONGEST or "boxed" in text or not _balanced(text):
        return None
    parse, _, config = _library()
    # No limit of its own: it would need SIGALRM and does not reach into C code. The pool kills what takes too long.
    values = parse(f"\\boxed{{{text}}}", extraction_config=config, fallback_mode="no_fallback", parsing_timeout=None)
    return values[0] if values else None


def _verify(gold: Any, value: Any) -> bool:
    _, verify, _ = _library()
    return bool(verify(gold, value, timeout_seconds=None))


def _balanced(text: str) -> bool:
    depth = 0
    for token in re.findall(r"\\.|[{}]", text, re.DOTALL):
        depth += (token == "{") - (token == "}")
        if depth < 0:
            return False
    return depth == 0


@functools.cache
def _library() -> tuple:
    """math-verify, imported when it is first needed: it brings sympy, which only workers should load."""
    from math_verify import LatexExtractionConfig, parse, verify

    logging.getLogger("math_verify").setLevel(logging.ERROR)
    return parse, verify, (LatexExtractionConfig(boxed_match_priority=0),)


def _prepare() -> None:
    """Imports the library and compiles its grammar, before any time limit runs."""
    _verify(_parse("\\frac{1}{2}"), _parse("0.5"))


accuracy.prepare = _prepare  # type: ignore[attr-defined]
