"""Which part of a completion's text each of its tokens is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from rl_reason.data.tokenization import decode

_UNFINISHED = "\ufffd"
"""What stands for the bytes of a character that is not whole."""
_LONGEST = 16
"""Tokens that are waited for to make a character whole; bytes that are no text never do."""


def token_characters(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[Sequence[int]], texts: Sequence[str]
) -> list[list[int]]:
    """How many characters of its completion's text each token is, in order: 0 for an end token, and for one that only
    begins a character, which counts for the token that ends it.

    Args:
        rows: token ids of completions.
        texts: what `decode` makes of each row, or the beginning of that.

    Returns:
        Of each row a number for each token; their sum is the length of the text.
    """
    distinct = sorted({int(token) for row in rows for token in row})
    decoded = tokenizer.batch_decode(
        [[token] for token in distinct], skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    alone = dict(zip(distinct, decoded, strict=True))
    made = []
    for row, text in zip(rows, texts, strict=True):
        pieces = [alone[int(token)] for token in row]
        # Tokens are not always read alone as they are read together: some tokenizers leave out a first space, and a
        # character may be spread over several tokens.
        ends = [len(piece) for piece in pieces] if "".join(pieces) == text else _one_by_one(tokenizer, row)
        made.append(_fitted(ends, len(text)))
    return made


def _one_by_one(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> list[int]:
    """What each token adds to the text of the few before it."""
    counts: list[int] = []
    start = read = 0  # the tokens before `read` are counted; those from `start` on are read again before the next one
    for i in range(len(ids)):
        known, made = decode(tokenizer, ids[start:read]), decode(tokenizer, ids[start : i + 1])
        if made.endswith(_UNFINISHED) and i + 1 - read < _LONGEST and i + 1 < len(ids):
            counts.append(0)
        else:
            counts.append(max(len(made) - len(known), 0))
            start, read = read, i + 1
    return counts


def _fitted(counts: Sequence[int], length: int) -> list[int]:
    """Counts cut off where the text ends, the last one with what is left of it."""
    ends = [min(end, length) for end in itertools.accumulate(counts)]
    if ends:
        last = next((i for i in range(len(ends) - 1, -1, -1) if counts[i]), len(ends) - 1)
        ends[last:] = [length] * (len(ends) - last)
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
