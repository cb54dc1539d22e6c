"""The final answer of a completion.

Only one answer is ever taken, the last: a completion that lists guesses is not correct for containing the right one.
"""

from __future__ import annotations

import re

# TeX boxes one digit or letter without braces as well, as in "\\boxed 9"; "\\boxed 18" is not what its author means.
_BOX_TOKENS = re.compile(
    r"\\f?boxed(?:\s*\{|(?P<bare>\s*[0-9]|\s+[A-Za-z])(?![\w{^]|[.,/:][0-9]))|\\.|[{}]", re.DOTALL
)
_ANSWER_IS = re.compile(r"\banswer\**\s*(?:is\b\s*:?|:)(?:\*+(?=\s))?[ \t]*", re.IGNORECASE)
_SENTENCE_END = re.compile(r"\.[*`]*(?:\s|$)")


def after_thought(completion: str) -> str | None:
    """What follows the last `</think>`, else the whole text; None for a thought that does not end: what stands in it
    was not yet answered."""
    text = completion.rpartition("</think>")[2]
    return None if "<think>" in text else text


def final_answer(completion: str) -> str | None:
    """The text of the final answer as written, without its wrapping; None where there is none.

    What was thought does not count (`after_thought`). Behind it, in this order: the last `<answer>…</answer>`, the last
    `\\boxed{…}`, the rest of the line after the last `#### `, and what follows the last "answer is" or "answer:" up to
    the end of the sentence; all but a box without Markdown's asterisks and backticks around it. Takes time linear in
    the length of the text.
    """
    return (_marked(completion) or "").strip() or None


def unmarked(completion: str) -> str:
    """What follows the thought, where nothing marks an answer there, not even an empty one; else an empty text."""
    return (after_thought(completion) or "") if _marked(completion) is None else ""


def _marked(completion: str) -> str | None:
    text = after_thought(completion)
    if text is None:
        return None
    tagged = last_tagged(text)
    if tagged is not None:
        inner = _last_marked(tagged)
        return _unemphasized(tagged) if inner is None else inner
    return _last_marked(text)


def last_boxed(text: str) -> str | None:
    """The content of the last `\\boxed{…}` whose braces balance, or `\\boxed 9`; of nested boxes, that of the innermost
    last one."""
    opened: list[int] = []  # For each open brace, where the content of its box starts; −1 for a brace without a box.
    found = None
    for token in _BOX_TOKENS.finditer(text):
        word = token[0]
        if word == "{":
            opened.append(-1)
        elif word == "}":
            start = opened.pop() if opened else -1
            if start >= 0 and (found is None or start > found[0]):
                found = (start, token.start())
        elif token["bare"]:
            found = (token.end() - 1, token.end())
        elif word.endswith("{") and len(word) > 2:
            opened.append(token.end())
    return None if found is None else text[found[0] : found[1]]


def last_tagged(text: str) -> str | None:
    """The inside of the last `<answer>…</answer>`; None where there is none."""
    end = text.rfind("</answer>")
    start = text.rfind("<answer>", 0, end) if end >= 0 else -1
    return text[start + len("<answer>") : end] if start >= 0 else None


def _last_marked(text: str) -> str | None:
    boxed = last_boxed(text)
    if boxed is not None:
        return boxed
    before, hashes, after = text.rpartition("#### ")
    if hashes:
        return _unemphasized(after.partition("\n")[0])
    match = None
    for match in _ANSWER_IS.finditer(text):  # noqa: B007 (the last one is wanted)
        pass
    if match is None:
        return None
    line = text[match.end() :].partition("\n")[0]
    end = _SENTENCE_END.search(line)
    return _unemphasized(line[: end.start()] if end else line)


def _unemphasized(text: str) -> str:
    """Without Markdown's asterisks and backticks around it or its start ("**5** cm"), and without a `**` at an end, as
    the other may stand before the mark. Products, powers and a lone asterisk stay."""
    text = text.strip()
    inner = text.lstrip("*`")
    mark = text[: len(text) - len(inner)]
    if not inner:
        return text
    if 0 < len(mark) <= 3:
        bare = re.sub(rf"(?<=\S){re.escape(mark)}(?![\w(*`])", "", inner, count=1)
        text = bare if bare != inner or mark == "**" else text
    return text.removesuffix("**")
