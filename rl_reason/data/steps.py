"""The steps of a solution, and where they end among its tokens.

A step ends with the token in which its separator ends, by default the end of a line; the last step ends with the
completion. What is blank is no step of its own: it belongs to the step before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from transformers import PreTrainedTokenizerBase

StepEnds = Callable[[Sequence[int]], list[int]]
"""Token ids of a completion, its end-of-sequence token counted → index of the last token of each step, rising. The last
one is the completion's last token; a completion without tokens has no steps."""


def separator_tokens(tokenizer: PreTrainedTokenizerBase, separator: str) -> tuple[int, ...]:
    """The tokens whose text holds the separator: whoever draws a solution step by step stops at these. A separator that
    no token holds, but several together, ends no step there."""
    ids = [[i] for i in range(len(tokenizer))]
    texts = tokenizer.batch_decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return tuple(i for i, text in enumerate(texts) if separator in text)


def make_step_ends(tokenizer: PreTrainedTokenizerBase, separator: str) -> StepEnds:
    """The rule for a tokenizer's tokens. It reads tokens as they were sampled, not the text that they make."""
    texts: dict[int, str] = {}

    def text_of(token: int) -> str:
        if token not in texts:
            made = tokenizer.decode([token], skip_special_tokens=True, clean_up_tokenization_spaces=False)
            texts[token] = str(made)
        return texts[token]

    def step_ends(tokens: Sequence[int]) -> list[int]:
        ends: list[int] = []
        line = ""  # since the last separator
        for i, token in enumerate(tokens):
            *closed, rest = (line + text_of(int(token))).split(separator)
            is_blank = not any(part.strip() for part in closed)
            line = rest
            if closed and is_blank and ends:
                ends[-1] = i
            elif closed and not is_blank:
                ends.append(i)
        last = len(tokens) - 1
        if line.strip() or not ends:
            return [*ends, last] if last >= 0 else []
        return [*ends[:-1], last]

    return step_ends


def cut(tokens: Sequence[int], ends: Sequence[int]) -> list[Sequence[int]]:
    """The tokens of each step."""
    starts = [0, *(end + 1 for end in ends[:-1])]
    return [tokens[start : end + 1] for start, end in zip(starts, ends, strict=False)]


def join_steps(steps: Sequence[str], separator: str) -> str:
    """The text of steps that are given one by one: a separator inside a step becomes a space."""
    return separator.join(step.replace(separator, " ").strip() for step in steps)
