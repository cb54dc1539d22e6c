"""DeepSeek-R1's reward of language consistency: a model shall think in the language that it is asked in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

_HAN, _KANA = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f", "\u3041-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
# A word: a run of letters of one script; of Chinese and Japanese, which put no spaces between words, a character.
_SCRIPTS = {
    "Han": f"[{_HAN}]",
    "Kana": f"[{_KANA}]",
    "Hangul": "[\u1100-\u11ff\uac00-\ud7a3]+",
    "Latin": "[A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff]+(?:['’-][A-Za-z\u00c0-\u024f]+)*",
    "Cyrillic": "[\u0400-\u052f]+",
    "Greek": "[\u0370-\u03ff\u1f00-\u1fff]+",
    "Arabic": "[\u0620-\u065f\u066e-\u06d3\u0750-\u077f]+",
    "Hebrew": "[\u05d0-\u05ea]+",
    "Devanagari": "[\u0900-\u0963\u0970-\u097f]+",
    "Bengali": "[\u0980-\u09e5]+",
    "Tamil": "[\u0b80-\u0be5]+",
    "Thai": "[\u0e01-\u0e4e]+",
}
_WORD = re.compile("|".join(f"(?P<{name}>{letters})" for name, letters in _SCRIPTS.items()))
_LANGUAGES = {
    **dict.fromkeys("en de fr es it pt nl sv da no fi pl cs sk hu ro hr sl tr vi id ms sw ca".split(), {"Latin"}),
    **dict.fromkeys("ru uk bg be mk kk".split(), {"Cyrillic"}),
    **dict.fromkeys("ar fa ur".split(), {"Arabic"}),
    **dict.fromkeys("hi mr ne".split(), {"Devanagari"}),
    "zh": {"Han"},
    "ja": {"Han", "Kana"},
    "ko": {"Hangul"},
    "el": {"Greek"},
    "he": {"Hebrew"},
    "bn": {"Bengali"},
    "ta": {"Tamil"},
    "th": {"Thai"},
}
_CODE = (("```", "```"), ("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)"))
_INLINE = re.compile(r"\$[^$\n]*\$|`[^`\n]*`|</?[A-Za-z]\w{0,30}>|\\(?:[A-Za-z]+|.)")


def language(completion: str, problem: Mapping) -> float:
    """The share of words in the target language, 0 to 1 (arXiv 2501.12948, section 2.3.2); 0 for a text without words.

    The target is `problem["language"]` ("en", "zh", "de-AT", …), else the language of `problem["problem"]`, else that
    of most of the completion. Words are told apart by script: Chinese from English or Russian, but not German from
    English. Not counted as words are tags, code between backticks, LaTeX commands, mathematics in dollars or
    `\\(…\\)`, and single letters of alphabets, which are names of quantities mostly. Takes time linear in the length.

    Raises:
        ValueError: `language` is not one of the known codes.
    """
    found = Counter(_scripts(_prose(completion)))
    target = _target(problem) or _main(found)
    total = found.total()
    return sum(found[script] for script in target) / total if total else 0.0


def mixes(completion: str, problem: Mapping) -> bool | None:
    """Whether a completion leaves the language of its problem: less than 19 of 20 words are in it, the rest being names
    or quotations. None where that cannot be said: no words, or a problem whose `language` is not given or not known."""
    known = _scripts_of(problem.get("language"))
    if known is None or next(_scripts(_prose(completion)), None) is None:
        return None
    return language(completion, problem) < 0.95


def check_gold(problem: Mapping) -> None:
    """Raises `ValueError` for a `language` that is not known."""
    _target({"language": problem.get("language")})


language.check_gold = check_gold  # type: ignore[attr-defined]


def _target(problem: Mapping) -> set[str]:
    """The scripts of the language that is asked for; empty where nothing says one."""
    code = problem.get("language")
    if code is None:
        question = problem.get("problem")
        return _main(Counter(_scripts(_prose(question)))) if isinstance(question, str) else set()
    scripts = _scripts_of(code)
    if scripts is None:
        raise ValueError(f"language={code!r:.80}: expected one of {', '.join(sorted(_LANGUAGES))}")
    return scripts


def _scripts_of(code: Any) -> set[str] | None:
    """The scripts of the language with a code; None for what is no known code."""
    return _LANGUAGES.get(re.split("[-_]", code.lower())[0]) if isinstance(code, str) else None


def _main(found: Counter[str]) -> set[str]:
    """The scripts of the language that most words are of; kana make Chinese characters Japanese."""
    if not found:
        return set()
    if found["Kana"] * 10 > found["Han"] and found["Kana"] + found["Han"] >= max(found.values()):
        return _LANGUAGES["ja"]
    return {found.most_common(1)[0][0]}


def _scripts(text: str):
    """The script of each word; a letter alone is none, but for scripts whose characters are words."""
    for word in _WORD.finditer(text):
        script = word.lastgroup or ""
        if word.end() - word.start() > 1 or script in ("Han", "Kana"):
            yield script


def _prose(text: str) -> str:
    """The text without code, mathematics and tags."""
    for opening, closing in _CODE:
        text = _without(text, opening, closing)
    return _INLINE.sub(" ", text)


def _without(text: str, opening: str, closing: str) -> str:
    """Without what stands between the marks; what is opened and never closed stays."""
    kept, at = [], 0
    while (start := text.find(opening, at)) >= 0:
        end = text.find(closing, start + len(opening))
        if end < 0:
            break
        kept.append(text[at:start])
        at = end + len(closing)
    return " ".join([*kept, text[at:]])
