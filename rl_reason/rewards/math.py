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
from rl_reason.rewards.numeric import NOT_UNITS, parse_number
from rl_reason.rewards.verdict import UnparseableGold, Verdict, judged, unparseable

_LONGEST = 1000
"""Characters of an answer; the grammar takes far more than linear time, and no answer is as long."""
_PLAIN = re.compile(r"[-+]?[0-9,]+(?:\.[0-9]+)?(?:/[0-9]+)?|-?\\[dt]?frac\{[0-9]+\}\{[0-9]+\}")
_ROUNDING = Fraction(1, 10_000)
"""Plain numbers that differ by more are different for math-verify too, which rounds to six decimals."""
# A number, a unit in words behind it. A letter alone is a factor, and so are the names of functions and constants.
_WITH_UNIT = re.compile(
    r"(?:\\?\$)?[-+]?[0-9,]+(?:\.[0-9]+)?(?:/[0-9]+)?\s*(?:°\s?[CF]?"
    r"|\s(?:\s*(?:[A-Za-z]+/[A-Za-z]{2,}|[A-Za-z]{2,}(?:/[A-Za-z]+)?)(?![A-Za-z/]))+)"
)
_OPERATION = re.compile(
    r"\b(?:pi|phi|sqrt|root|sin|cos|tan|cot|sec|csc|log|ln|exp|inf(?:inity)?|times|over|divided|choose|less|to"
    r"|per ?cent)\b",
    re.IGNORECASE,
)


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
    written_alike = _same_bases(gold, extracted) and _same_marks(gold, extracted)
    return judged(written_alike and _verify(gold_value, value), extracted)


def check_gold(problem: Mapping) -> None:
    """Raises `UnparseableGold` for an answer that cannot be parsed."""
    answer = problem["answer"]
    if (not _PLAIN.fullmatch(answer) or parse_number(answer) is None) and _parse(answer) is None:
        raise UnparseableGold(answer)


accuracy.check_gold = check_gold  # type: ignore[attr-defined]


def _compare_numbers(gold: str, extracted: str) -> bool | None:
    """Whether two plain numbers are equal, the second maybe with a unit; None where one isn't plain, they are nearly
    equal, or differ where there is a unit."""
    if not _PLAIN.fullmatch(gold) or len(extracted) > _LONGEST:
        return None
    is_plain = bool(_PLAIN.fullmatch(extracted))
    if not is_plain:
        extracted = _plainly(extracted)
        # The grammar takes the letters of some units for factors.
        if not _WITH_UNIT.fullmatch(extracted) or _OPERATION.search(extracted):
            return None
    a, b = parse_number(gold), parse_number(extracted)
    if a is None or b is None:
        return None
    if a == b:
        return True
    return False if is_plain and abs(a - b) > _ROUNDING else None


_BASE = re.compile(r"(?<![\w^\\])(?<![\^_]\{)[0-9]+\}?\s*_\s*\{?\s*([0-9]+)")


def _same_bases(gold: str, extracted: str) -> bool:
    """False where the answer names another base than the gold one, which is ten where it names none: math-verify drops
    the subscript."""
    return set(_BASE.findall(extracted)) <= set(_BASE.findall(gold) or ["10"])


_IN_WORDS = re.compile(r"\\(?:text(?:normal|rm|bf|it)?|math(?:rm|bf|it)|mbox|operatorname)\s*\{([^{}]*)\}")
_PRIME = re.compile(r"(?:(?<![A-Za-z])[A-Za-z]|\\[A-Za-z]+|[)\]}])('+)")
_QUOTED = re.compile(r"\s*'(.*)'\s*", re.DOTALL)
_DOTS = re.compile(r"(?<![0-9.])[0-9]*\.[0-9]+\s*\\[lc]?dots|(\\[lc]?dots)")  # Behind decimals they change nothing.
_MODULUS = re.compile(r"\\[bp]?mod(?![A-Za-z])")


def _same_marks(gold: str, extracted: str) -> bool:
    """False where only one of them has what math-verify drops although it changes the value: primes, dots, a modulus,
    and words like "million" behind a number. "or" and "and" change a single number, and part those of a list."""
    is_number = parse_number(gold) is not None
    return _marks(gold, is_number) == _marks(extracted, is_number)


def _marks(text: str, is_number: bool) -> tuple:
    first = re.search("[0-9]", text)
    words = " ".join(match[1] for match in _IN_WORDS.finditer(text, first.end() if first else len(text)))
    found = sorted(word.lower() for word in NOT_UNITS.findall(" " + " ".join(words.split())))
    text = _IN_WORDS.sub(" ", text)
    quoted = _QUOTED.fullmatch(text)
    return (
        sum(map(len, _PRIME.findall(quoted[1] if quoted else text))),
        any(_DOTS.findall(text)),
        bool(_MODULUS.search(text)),
        [word for word in found if is_number or word not in ("or", "and")],
    )


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
    if not text or "boxed" in text or not _balanced(text) or _SEVERAL.search(text) or _is_false_chain(text):
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


_EQUALS = re.compile(r"(?<![<>!:=])=(?!=)")
_NUMERIC = re.compile(
    r"(?:[0-9+\-*/^().{}\s]|,(?:\\!)?(?=[0-9]{3})|\\(?:[dt]?frac|sqrt|cdot|times|div|left|right|pi)(?![A-Za-z]))*[0-9]"
    r"(?:[0-9^().{}\s]|\\right(?![A-Za-z]))*"
)
_MOST_SIDES = 8
"""Numbers in one chain of equations; each is parsed."""


def _is_false_chain(text: str) -> bool:
    """Whether a chain of two or more equations says that different numbers are equal, as 6 = x = 5. What is only
    rounded is not different."""
    from sympy import Expr

    sides = _EQUALS.split(text)
    if len(sides) < 3:
        return False
    numeric = [side for side in sides if _NUMERIC.fullmatch(side.strip()) and _balanced(side)]
    if len(numeric) > _MOST_SIDES:
        return True
    values = [value for value in map(_read, numeric) if isinstance(value, Expr) and value.is_real]
    return any(abs(value - values[0]) > abs(values[0]) / 100 for value in values[1:])


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
