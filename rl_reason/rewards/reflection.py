"""What a completion shows of looking back: words of reflection, and calculations that it takes back.

Measured, never rewarded. Nothing is evaluated but sums, differences, products and quotients of two numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

WORDS = ("wait", "mistake", "however", "but", "retry", "error", "verify", "wrong", "evaluate", "check")
"""The words that DeepSeek counts in the training of R1-Zero (Nature 645, 2025, extended data figure 1a)."""
CHINESE = ("等等", "等一下", "不对", "错", "检查", "重新", "验证", "但是", "然而")
"""For the same in Chinese, which the paper does not list: ours. "不错" (not bad) is none."""
_WHOLE = {word: re.compile(rf"(?<![a-z]){word}(?![a-z])") for word in WORDS}

# It begins with a digit, which is what a search can look for quickly; digits are not given back.
_NUMBER = r"[0-9](?:[0-9]{0,2}+(?:,[0-9]{3})++|[0-9]{0,14}+)(?:\.[0-9]{1,9}+)?+"
_MONEY = r"(?:\\?\$|[€£¥])?"
_SIGNS = {"×": "*", "x": "*", "X": "*", "·": "*", "\\times": "*", "\\cdot": "*", "÷": "/", "\\div": "/", "−": "-"}
_GAP = r"[ \t]{0,3}"
_EQUATION = re.compile(
    rf"(?P<a>{_NUMBER}){_GAP}(?P<sign>[-+*/×÷·−xX]|\\(?:times|cdot|div)(?![A-Za-z])){_GAP}"
    rf"{_MONEY}(?P<b>{_NUMBER}){_GAP}&?={_GAP}{_MONEY}(?P<c>[-−]?{_NUMBER})"
    # What makes the number behind the equals sign another one: more digits, an exponent, a percent sign, a remainder,
    # an operator with its operand.
    rf"(?![0-9]|[.,][0-9]|[eE][-+]?[0-9]|{_GAP}(?:\\?%|[\^²³]|remainder|[rR] ?[0-9]|余)"
    rf"|{_GAP}(?:[-+*/×÷·−]|\\(?:times|cdot|div)){_GAP}[0-9(\\$])"
)
# Before it: the rest of a word or a number, or an operator, so that both are a part of something longer. A bullet is no
# operator.
_CONTINUED = re.compile(rf"(?:[A-Za-z0-9_.,^]|(?:[-+*/×÷·−]|\\(?:times|cdot|div))[ \t]*{_MONEY})\Z")
_BULLET = re.compile(r"(?:^|\n)[ \t]*[-+*][ \t]+\Z")

Span = tuple[int, int]
"""First character and the one behind the last."""


@dataclass(frozen=True)
class Revision:
    """A calculation that a completion writes twice, with another result the second time."""

    before: Span
    after: Span
    corrects: bool
    """True: what was wrong is right then; False: what was right is wrong."""


@dataclass(frozen=True)
class Reflection:
    words: int
    """Occurrences of words of reflection."""
    revisions: tuple[Revision, ...]

    @property
    def corrects(self) -> bool:
        """Whether a wrong intermediate result was turned into a right one."""
        return any(one.corrects for one in self.revisions)

    @property
    def undoes(self) -> bool:
        """Whether a right one was turned into a wrong one."""
        return any(not one.corrects for one in self.revisions)


def reflect(completion: str) -> Reflection:
    """Counts words of reflection, as whole words, and finds the calculations that are revised.

    Read are equations `a ∘ b = c` of numbers in ASCII digits, with thousands commas and decimals, a currency sign, and
    LaTeX's or the usual signs; not parts of longer expressions. One is right if it is true exactly, or, where c has
    decimals, rounded to them. A revision is the same left side (3·4 and 4·3 are one) written again, the first time
    wrongly and then rightly or the other way round, behind which the completion goes on. Takes time linear in the
    length of the text.
    """
    end = len(completion.rstrip())
    seen: dict[tuple, tuple[bool, Span]] = {}
    revisions = []
    for match in _EQUATION.finditer(completion):
        before = completion[max(0, match.start() - 12) : match.start()]
        if _CONTINUED.search(before) and not _BULLET.search(before):
            continue
        left, right = _read(match)
        span = match.start("a"), match.end()
        if left in seen and seen[left][0] != right and span[1] < end:
            revisions.append(Revision(seen[left][1], span, corrects=right))
        seen[left] = right, span
    return Reflection(_words(completion.lower()), tuple(revisions))


def rates(reflected: Sequence[Reflection], correct: Iterable[bool]) -> dict[str, float]:
    """Of B completions, of which it is known whether their final answers are right.

    Returns:
        `reflection/words`: words of reflection in a completion, the mean; `reflection/rate`: the share with any;
        `correction/rate`, `correction/undone`: the shares in which a calculation was corrected, or a right one undone;
        `correction/right`: the share of those with a correction that end right; absent where there are none.
    """
    count = len(reflected)
    made = {
        "reflection/words": sum(one.words for one in reflected) / count,
        "reflection/rate": sum(one.words > 0 for one in reflected) / count,
        "correction/rate": sum(one.corrects for one in reflected) / count,
        "correction/undone": sum(one.undoes for one in reflected) / count,
    }
    ends = [bool(ok) for one, ok in zip(reflected, correct, strict=True) if one.corrects]
    return made | ({"correction/right": sum(ends) / len(ends)} if ends else {})


def _words(text: str) -> int:
    # Most texts have few of them, and looking for a fixed text is the quickest search.
    english = sum(len(whole.findall(text)) for word, whole in _WHOLE.items() if word in text)
    return english + sum(text.count(word) for word in CHINESE) - text.count("不错")


def _read(match: re.Match) -> tuple[tuple, bool]:
    """The left side, the same for all ways to write it, and whether the equation is true."""
    a, b, c = (_value(match[name]) for name in "abc")
    sign = _SIGNS.get(match["sign"], match["sign"])
    left = (sign, *sorted((a, b))) if sign in "+*" else (sign, a, b)
    if sign == "/" and not b:
        return left, False
    made = {"+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "/": lambda: Fraction(a) / b}
    difference = Fraction(made[sign]()) - Fraction(c)
    decimals = len(match["c"].partition(".")[2])
    return left, abs(difference) * 2 * 10**decimals <= (1 if decimals else 0)


def _value(digits: str) -> int | Fraction:
    digits = digits.replace(",", "").replace("−", "-")
    return Fraction(digits) if "." in digits else int(digits)
