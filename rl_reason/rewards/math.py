"""Mathematical equality of answers, by math-verify.

A model's text goes through math-verify's grammar of LaTeX only. Its reader of plain expressions hands the text to
`sympy.parse_expr`, and so to Python's `eval`: that one is never used.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from rl_reason.rewards.extraction import final_answer
from rl_reason.rewards.numeric import parse_number
from rl_reason.rewards.verdict import UnparseableGold, Verdict, judged, unparseable

_LONGEST = 1000
"""Characters of an answer; the grammar takes far more than linear time, and no answer is as long."""
_PLAIN = re.compile(r"[-+]?[0-9,]+(?:\.[0-9]+)?(?:/[0-9]+)?|-?\\[dt]?frac\{[0-9]+\}\{[0-9]+\}")
_ROUNDING = Fraction(1, 10_000)
"""Plain numbers that differ by more are different for math-verify too, which rounds to six decimals."""
_BASE = re.compile(r"\d_\{?(\d+)\}?$")


def accuracy(completion: str, problem: Mapping) -> Verdict:
    """Whether the final answer equals `problem["answer"]` mathematically.

    Plain numbers and answers that are written like the gold one are judged without math-verify.

    Raises:
        UnparseableGold: the problem's own answer cannot be parsed; such a problem never gives reward.
    """
    extracted = final_answer(completion)
    if extracted is None:
        return unparseable(None)
    gold = problem["answer"]
    same = _compare_numbers(gold, extracted)
    if same is not None:
        return judged(same, extracted)
    gold_value = _parse_gold(gold)
    if gold_value is None:
        raise UnparseableGold(gold)
    if len(extracted) <= _LONGEST and _plainly(extracted) == _plainly(gold):
        return judged(True, extracted)
    value = _parse(extracted)
    if value is None:
        return unparseable(extracted)
    return judged(_same_base(gold, extracted) and _verify(gold_value, value), extracted)


def check_gold(problem: Mapping) -> None:
    """Raises `UnparseableGold` for an answer that cannot be parsed."""
    answer = problem["answer"]
    if (not _PLAIN.fullmatch(answer) or parse_number(answer) is None) and _parse(answer) is None:
        raise UnparseableGold(answer)


accuracy.check_gold = check_gold  # type: ignore[attr-defined]


def _compare_numbers(gold: str, extracted: str) -> bool | None:
    """Whether two plain numbers are equal; None where one isn't plain, or they are nearly equal."""
    if not (_PLAIN.fullmatch(gold) and _PLAIN.fullmatch(extracted)):
        return None
    a, b = parse_number(gold), parse_number(extracted)
    if a is None or b is None:
        return None
    if a == b:
        return True
    return False if abs(a - b) > _ROUNDING else None


def _same_base(gold: str, extracted: str) -> bool:
    """False where both numbers name their base and the bases differ: math-verify drops the subscript."""
    a, b = _BASE.search(gold.strip()), _BASE.search(extracted.strip())
    return not (a and b) or a[1] == b[1]


_REWRITES = [
    (re.compile(pattern), new)
    for pattern, new in [
        (r",\\!(?=[0-9]{3})", ""),  # thousands
        (r"\\!", ""),
        (r"(?<!\\)\$|\\[()\[\]]", ""),
        (r"\\phantom\s*(?:\{[^{}]*\}|.)", ""),
        (r"^\s*\\approx\b", ""),
        (r"\\(?:text|textbf|textit|mathrm|mathbf)\s*\{(\s*\(?[-+]?[0-9.,]+\)?\s*)\}", r" \1 "),
        (r"(\\[dt]?frac)\s*(\\[A-Za-z]+|[0-9A-Za-z])\s*(\\[A-Za-z]+)(?![A-Za-z])", r"\1{\2}{\3}"),
        (r"(\\[dt]?frac)\s*(\\[A-Za-z]+)\s*([0-9A-Za-z])", r"\1{\2}{\3}"),
        (r"(\\[dt]?frac)\s*([0-9])\s*([0-9])(?![0-9])", r"\1{\2}{\3}"),
        (r"(\\(?:sin|cos|tan|cot|sec|csc|ln|log)(?:\^[0-9])?)\s+([A-Za-z])(?![A-Za-z])", r"\1{\2}"),  # else a unit
        (r"(?<![0-9])([0-9]{1,3})(?:\\,|~)(?=[0-9]{3}(?![0-9]))", r"\1"),
        (r"(?<![0-9.])([0-9]+)\s+([0-9]+)\s*/\s*([0-9]+)(?![0-9])", r"\1\\frac{\2}{\3}"),  # 18 1/2
    ]
]
# The grammar adds or multiplies two numbers that only stand side by side, and skips what stands in `\text`.
_SEVERAL = re.compile(
    r"[0-9](?:\s|~|\\[,;: ]|\\q?quad)+[0-9]|[0-9]\s*\(\s*[0-9.]+\s*\)|\([0-9.]+\s*\)\s*[0-9]"
    r"|[0-9].*\\text\s*\{[^{}]*[0-9]|\\text\s*\{[^{}]*(?<![A-Za-z])[0-9].*\}.*[0-9]"
)
_WORD = re.compile(r"(?<!\\)(?<![A-Za-z])[A-Za-z]{2,}")
_SPACE = re.compile(r"(?<![\\A-Za-z])\s+|(?<=[A-Za-z])\s+(?![A-Za-z])")


def _plainly(text: str) -> str:
    """The answer without what changes nothing: dollars, spacing, a mark at its end."""
    for pattern, new in _REWRITES:
        text = pattern.sub(new, text)
    return text.strip().rstrip(".,;").strip()


def _parse(text: str) -> Any | None:
    """A sympy expression; None for a text that is no mathematics, or several numbers."""
    if len(text) > _LONGEST:
        return None
    text = _plainly(text)
    # The text is put into one box: what would close it early, or open another, is not an answer.
    if not text or "boxed" in text or not _balanced(text) or _SEVERAL.search(text):
        return None
    # A letter behind a space may be taken for a unit, and left out.
    tight = _SPACE.sub("", text)
    are_symbols = not re.search("[0-9]", text) and not _WORD.search(text)
    value = _read(tight if are_symbols else text)
    return _read(tight) if value is None and tight != text else value


def _read(text: str) -> Any | None:
    parse, _, config = _library()
    # No limit of its own: it would need SIGALRM and does not reach into C code. The pool kills what takes too long.
    values = parse(f"\\boxed{{{text}}}", extraction_config=config, fallback_mode="no_fallback", parsing_timeout=None)
    return values[0] if values and not _is_false(values[0]) else None


def _is_false(value: Any) -> bool:
    """Whether it says that two different numbers are equal: math-verify looks at the last of them only."""
    from sympy import Eq

    return isinstance(value, Eq) and not value.free_symbols and value.lhs.equals(value.rhs) is False


_parse_gold = functools.lru_cache(maxsize=4096)(_parse)
"""The samples of a question share its answer."""


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
