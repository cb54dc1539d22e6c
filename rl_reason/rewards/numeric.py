"""Exact equality of numbers, for problems whose answer is one number."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

from rl_reason.rewards.extraction import final_answer, unmarked
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
    rf"\s*(?:\\?%|{_CURRENCY})?\s*(?P<unit>(?:[°A-Za-z](?:[\s°A-Za-z.'’-]|(?<=[A-Za-z])/(?=[A-Za-z]))*)?)\.?"
)
# Words behind a number that change it ("5 squared", not "5 cm squared"), and the start of an exponent.
NOT_UNITS = re.compile(
    r"\b(?:hundreds?|thousands?|(?:m|b|tr)illions?|dozens?|score|half|halves|(?<![a-z] )(?:squared|cubed)|factorial"
    r"|plus|minus|mod|modulo|or|and|k)\b|^e(?:$|-)",
    re.IGNORECASE,
)
_UNWRAP = re.compile(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}")


def parse_number(text: str) -> Fraction | None:
    """The number that a text is, exactly; None if it is anything else.

    Read are integers and decimals with or without thousands commas, fractions `a/b` and `\\frac{a}{b}`, in front or
    behind a currency or percent sign (which is ignored, like brackets and a unit in words: "(18)", "$18.00", "18
    apples" are equal).
    Not read are expressions, powers, exponents ("1e3"), and texts with a second number.
    """
    if len(text) > _LONGEST:
        return None
    text = _UNWRAP.sub(r" \1", text).replace("\\!", "").replace("\\,", "").replace("−", "-").strip()
    if text.startswith("**") and text.endswith("**") and len(text) > 4:
        text = text[2:-2].strip()
    if text.startswith("$") and text.endswith("$") and len(text) > 1:
        text = text[1:-1].strip()
    if text.startswith("(") and text.endswith(")"):
        text = text[1:-1].strip()
    match = _NUMBER.fullmatch(text)
    if not match or (match["sign"] and match["inner"]) or NOT_UNITS.search(match["unit"]):
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

    Where nothing marks an answer (`extraction.final_answer`), the last number of the text is taken for it, as is usual
    for GSM8K; see `last_number`.

    Raises:
        UnparseableGold: the problem's own answer is no number; such a problem never gives reward.
    """
    return _judge(final_answer(completion) or last_number(unmarked(completion)), problem)


def marked_number(text: str, problem: Mapping) -> Verdict:
    """`number`, but for texts in which nothing marks an answer: they are unparseable."""
    return _judge(final_answer(text), problem)


def check_gold(problem: Mapping) -> None:
    """Raises `UnparseableGold` for an answer that is no number."""
    _gold(problem)


number.check_gold = marked_number.check_gold = check_gold  # type: ignore[attr-defined]


# Digits of any alphabet, powers, fractions of one character and numbers in circles: where a text ends in one of them,
# a number before it is not its last.
_LAST_DIGIT = re.compile(r".*[\d²³¹¼-¾\u2070-\u2089\u2150-\u218b\u2460-\u249b\u2776-\u2793]", re.DOTALL)
_LAST_NUMBER = re.compile(
    rf"(?:\\[dt]?frac\{{{_DIGITS}\}}\{{{_DIGITS}(?=\Z)"
    rf"|(?P<sign>[-−+]\s*)?{_CURRENCY}?(?:{_DIGITS}(?:\.[0-9]+)?(?:/{_DIGITS})?|\.[0-9]+))\Z"
)
_NOT_BEFORE = re.compile(
    r"(?:[\w^_\\{.]|[0-9][ \u00a0\u2009]|[0-9]\s*[,:/]|/\s*|[\w)]\s*\*\*"
    r"|[√∛∜±∓≠≤≥]\s*|(?<!<)<\s*|\\(?:pm|mp|neq?|leq?|geq?|lt|gt)\s*"
    r"|(?<![A-Za-z])(?:sqrt|log|ln|exp|sin|cos|tan)\s*\(?\s*)\Z"
)
_OPERAND = re.compile(r"(?:[0-9)\]}%]\s*|\w)\Z")
_NOT_BEHIND = re.compile(
    r"\s*[\^!_]|\*\*\s*\w|\s*(?:hundred|thousand|(?:m|b|tr)illion|dozen|squared|cubed|factorial|and a half)|k\b",
    re.IGNORECASE,
)


def last_number(text: str) -> str | None:
    """The last number of a text, as written; None where there is none.

    Nor where the last one is part of something longer (a power, a root, a logarithm, a bound, a factorial, an index, a
    time, "2 million"), is written in digits of another alphabet, or stands in an `<answer>` that was cut off: no other
    number is taken for it.
    """
    if text.rfind("<answer>") > text.rfind("</answer>"):
        return None
    last = _LAST_DIGIT.match(text)
    if not last:
        return None
    start, end = max(0, last.end() - _LONGEST), last.end()
    found = _LAST_NUMBER.search(text[start:end])
    if not found or (start and not found.start()):
        return None
    fraction = found[0].startswith("\\")
    if fraction and text[end : end + 1] != "}":
        return None
    before, behind = text[start : start + found.start()], text[end + fraction :][:40]
    if _NOT_BEHIND.match(behind):
        return None
    if found["sign"] and _OPERAND.search(before):  # 20-2 does not end in a negative number.
        return None if re.search(r"[0-9][eE]\Z", before) else found[0][len(found["sign"]) :]
    if (not fraction and _NOT_BEFORE.search(before)) or before[-1:] in ("-", "−", "+"):
        return None
    return found[0] + "}" * fraction


def _judge(extracted: str | None, problem: Mapping) -> Verdict:
    gold = _gold(problem)
    if extracted is None:
        return unparseable(None)
    value = parse_number(extracted)
    return unparseable(extracted) if value is None else judged(value == gold, extracted)


def _gold(problem: Mapping) -> Fraction:
    gold = parse_number(problem["answer"])
    if gold is None:
        raise UnparseableGold(problem["answer"])
    return gold


def _integer(digits: str) -> Fraction:
    return Fraction(digits.replace(",", ""))
