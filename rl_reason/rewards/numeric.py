"""Exact equality of numbers, for problems whose answer is one number."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

from rl_reason.rewards.extraction import final_answer
from rl_reason.rewards.verdict import UnparseableGold, Verdict, judged, unparseable

_LONGEST = 100
"""Characters of a number with its unit; a longer text is not read as one."""
_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)"
_CURRENCY = r"(?:\\?\$|[€£¥₹])"
_NUMBER = re.compile(
    rf"(?P<sign>[-+]?)\s*{_CURRENCY}?\s*(?P<inner>[-+]?)"
    rf"(?:\\[dt]?frac\{{(?P<top>{_DIGITS})\}}\{{(?P<bottom>{_DIGITS})\}}"
    rf"|(?P<whole>{_DIGITS})?(?P<decimals>\.[0-9]+)?(?:\s*/\s*(?P<over>{_DIGITS}))?)"
    # A percent or currency sign, and a unit in words. Digits, signs and operators after the number: no number.
    rf"\s*(?:\\?%|{_CURRENCY})?\s*(?P<unit>(?:[°A-Za-z][\s°A-Za-z.'’-]*)?)\.?"
)
# Words behind a number that change it, and the start of an exponent.
_NOT_UNITS = re.compile(
    r"\b(?:hundreds?|thousands?|(?:m|b|tr)illions?|dozens?|score|half|halves|squared|cubed|factorial|or|and|k)\b|^e(?:$|-)",
    re.IGNORECASE,
)
_UNWRAP = re.compile(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}")


def parse_number(text: str) -> Fraction | None:
    """The number that a text is, exactly; None if it is anything else.

    Read are integers and decimals with or without thousands commas, fractions `a/b` and `\\frac{a}{b}`, in front or
    behind a currency or percent sign (which is ignored, like a unit in words: "18", "$18.00", "18 apples" are equal).
    Not read are expressions, powers, exponents ("1e3"), and texts with a second number.
    """
    if len(text) > _LONGEST:
        return None
    text = _UNWRAP.sub(r" \1", text).replace("\\!", "").replace("\\,", "").replace("−", "-").strip()
    if text.startswith("**") and text.endswith("**") and len(text) > 4:
        text = text[2:-2].strip()
    if text.startswith("$") and text.endswith("$") and len(text) > 1:
        text = text[1:-1].strip()
    match = _NUMBER.fullmatch(text)
    if not match or (match["sign"] and match["inner"]) or _NOT_UNITS.search(match["unit"]):
        return None
    if match["top"]:
        value, over = _integer(match["top"]), _integer(match["bottom"])
    elif match["whole"] or match["decimals"]:
        value = Fraction((match["whole"] or "0").replace(",", "") + (match["decimals"] or ""))
        over = _integer(match["over"]) if match["over"] else Fraction(1)
    else:
        return None
    if not over:
        return None
    return -value / over if "-" in (match["sign"], match["inner"]) else value / over


def number(completion: str, problem: Mapping) -> Verdict:
    """Whether the final answer is the same number as `problem["answer"]`, exactly.

    Raises:
        UnparseableGold: the problem's own answer is no number; such a problem never gives reward.
    """
    gold = parse_number(problem["answer"])
    if gold is None:
        raise UnparseableGold(problem["answer"])
    extracted = final_answer(completion)
    if extracted is None:
        return unparseable(None)
    value = parse_number(extracted)
    return unparseable(extracted) if value is None else judged(value == gold, extracted)


def _integer(digits: str) -> Fraction:
    return Fraction(digits.replace(",", ""))
