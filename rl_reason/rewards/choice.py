"""Multiple choice: which one of the choices an answer names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rl_reason.rewards.extraction import final_answer, unmarked
from rl_reason.rewards.verdict import UnparseableGold, Verdict, judged, unparseable

_LONGEST = 2000
"""Characters of an answer; a longer one names no single choice."""
_WRAPPED = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mathit)\s*\{([^{}]*)\}")
# No `re.IGNORECASE`: with it, [A-Z] matches the Kelvin sign and the long s.
_LABEL = re.compile(
    r"(?:[Oo]ption|[Cc]hoice)?\s*(?:\(\s*([A-Za-z])\s*\)|([A-Za-z])(?=[).:]|$))[).:]?\s*(.*)", re.DOTALL
)
# "A" before a word is an article, "I" a pronoun.
_OTHER_LABEL = re.compile(
    r"\([A-Z]\)|(?<!\w)\([a-h]\)|(?<!\w)[A-Z](?=[).:]|\s*$)|(?:\b(?:or|and|not|nor)\b|[,/&])\s*\(?[A-Z](?!\w)"
    r"|(?<!\w)[B-H](?= [a-z]{2})|(?<!\w)[a-h]\)?\s+(?:or|nor|and)\s+\(?[a-h](?!\w)"
)


def choice(completion: str, problem: Mapping) -> Verdict:
    """Whether the final answer names the choice `problem["answer"]`, a letter, and no other.

    An answer is a letter ("C", "(c)", "C."), a letter with the choice's text ("C. the text"), or the text alone, where
    `problem["choices"]` lists the texts; a letter alone is never a text. A letter with another text is unparseable, as
    are two letters ("A or B", "A, C"). Where nothing marks an answer (`extraction.final_answer`), the last line is one
    if it is all that.

    Raises:
        UnparseableGold: the problem's own answer is not the letter of a choice.
    """
    gold, choices = _gold(problem)
    extracted = final_answer(completion)
    if extracted is None:
        extracted = unmarked(completion).rstrip().rpartition("\n")[2].strip()
        if not extracted or _named(extracted, choices) is None:
            return unparseable(None)
    named = _named(extracted, choices)
    if named is None:
        return unparseable(extracted)
    return judged(gold in named, extracted)


def check_gold(problem: Mapping) -> None:
    """Raises `UnparseableGold` unless the answer is the letter of a choice."""
    _gold(problem)


choice.check_gold = check_gold  # type: ignore[attr-defined]


def _gold(problem: Mapping) -> tuple[str, list[str]]:
    """The letter of the right choice, and the texts of all, without their wrapping; none where they aren't listed."""
    choices = problem.get("choices") or []
    if not isinstance(choices, Sequence) or isinstance(choices, str) or not all(isinstance(c, str) for c in choices):
        raise UnparseableGold(problem["answer"], f"choices={choices!r:.80}: expected a list of texts")
    match = re.fullmatch(r"\(?([A-Z])\)?\.?", _unwrap(problem["answer"]))
    if not match or (choices and ord(match[1]) - ord("A") >= len(choices)):
        raise UnparseableGold(problem["answer"], "expected the letter of a choice")
    return match[1], [_text(c) for c in choices]


def _named(answer: str, choices: Sequence[str]) -> str | None:
    """The letters of the choices that an answer names: one, or more where several have the same text; None for an
    answer that is no single choice."""
    if len(answer) > _LONGEST:
        return None
    answer = _unwrap(answer)
    label = _LABEL.fullmatch(answer)
    letter = (label[1] or label[2]).upper() if label else ""
    if letter and choices and ord(letter) - ord("A") >= len(choices):
        letter = ""
    if letter and label:
        rest = _text(label[3])
        if not rest:
            return letter
        if choices:
            same = rest.casefold() == choices[ord(letter) - ord("A")].casefold()
        else:
            same = not _OTHER_LABEL.search(label[3])
        if same:
            return letter
    text = _text(answer)
    texts = [i for i, other in enumerate(choices) if text == other]
    texts = texts or [i for i, other in enumerate(choices) if text.casefold() == other.casefold()]
    return "".join(chr(ord("A") + i) for i in texts) or None


def _unwrap(text: str) -> str:
    """Without what only sets the type: `\\text{…}`, dollars around all of it, asterisks of bold letters."""
    text = _WRAPPED.sub(r" \1 ", text).replace("**", " ").replace("__", " ").strip()
    if len(text) > 1 and text[0] == text[-1] == "$" and "$" not in text[1:-1]:
        text = text[1:-1].strip()
    return text


def _text(text: str) -> str:
    """A choice's text, to be compared: without wrapping, white space, and a full stop at its end."""
    return "".join(_unwrap(text).replace("$", "").split()).rstrip(".")
