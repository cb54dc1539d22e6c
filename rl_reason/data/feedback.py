"""Pairs of completions, what a model is asked about them, and what becomes of its answers (Constitutional AI, arXiv
2212.08073, section 4.1).

Both orders are asked, since models prefer a letter whatever stands behind it: with p₁ the probability of (A) where the
first completion is (A), and p₂ where it is (B), the first one is the better one with the share (p₁ + 1 − p₂) / 2.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rl_reason.data.constitution import Principle, draw
from rl_reason.errors import UsageError

LETTERS = ("(A)", "(B)")
ORDERS = (0, 1)
"""The first completion is (A); is (B)."""
QUESTION = "{problem}\n\nOptions:\n(A) {a}\n(B) {b}\n\n{choice}"
SHORT = "Answer with (A) or (B)."
THINK = "Think about it step by step."
CONCLUDE = "So which one is it? Answer with (A) or (B)."
_NAMED = re.compile(r"\(([AB])\)")
_ALONE = re.compile(r"\W*([AB])\W*")
_THOUGHT = re.compile(r".*</think>", re.DOTALL)


@dataclass(frozen=True)
class Pair:
    """Two completions of a problem."""

    id: str
    problem: Mapping[str, Any]
    first: Mapping[str, Any]
    second: Mapping[str, Any]
    """Records, whose `completion` is compared."""
    principle: Principle

    def turns(self, order: int, reasoning: bool) -> list[str]:
        """What is asked about it."""
        a, b = (self.first, self.second) if order == 0 else (self.second, self.first)
        asked = QUESTION.format(
            problem=self.problem["problem"], a=a["completion"], b=b["completion"], choice=self.principle.choice
        )
        return [f"{asked} {THINK if reasoning else SHORT}"]


@dataclass(frozen=True)
class Said:
    """What was answered to a question about a pair."""

    share: float | None
    """P((A)) / (P((A)) + P((B))); of a letter without probabilities 1 or 0; None: there is neither."""
    text: str = ""
    """In words, where there are some."""
    reason: str = ""
    """Why there is no share."""


def make_pairs(
    records: Sequence[Mapping], most: int, principles: Sequence[Principle], seed: int, name: str
) -> tuple[list[Pair], int]:
    """The pairs, and how many completions are in none.

    Of a question's completions that differ and end, the first with the second, the third with the fourth, and so on.

    Args:
        records: of a folder of samples (`data.generated`), those of a question together.
        most: pairs of a question.
        principles: one is drawn for each pair.
        seed: of the draw.
        name: of the folder, for the error line.

    Raises:
        UsageError: there are no two completions of a question.
    """
    pairs: list[Pair] = []
    for id, group in groupby(records, lambda record: record["id"]):
        texts: dict[str, Mapping] = {}
        for record in group:
            if record["finish"] == "stop" and "failure" not in record and record["completion"].strip():
                texts.setdefault(record["completion"], record)
        kept = list(texts.values())
        for a, b in list(zip(kept[::2], kept[1::2], strict=False))[:most]:
            place = f"{id}/{a['sample']}-{b['sample']}"
            pairs.append(Pair(place, a, a, b, draw(principles, seed, place)))
    if not pairs:
        raise UsageError(
            f"config.data.name={name!r}: no question has two completions that differ and end, of {len(records)}; "
            "expected some (config.collect.samples of the run that made it)"
        )
    return pairs, len(records) - 2 * len(pairs)


def share_of_first(in_order: float, turned: float, clamp: float) -> float:
    """The share for a pair's first completion; of the pair the other way round it is 1 − this, exactly.

    Args:
        in_order: the probability of (A) where the first completion is (A).
        turned: that of (A) where it is (B).
        clamp: both are kept between this and 1 − this.
    """
    p, q = (min(max(x, clamp), 1 - clamp) for x in (in_order, turned))
    # Computed for the larger side: 1 − (1/2 + x) is exact, 1/2 − x need not be.
    larger = 0.5 + abs(p - q) / 2
    return larger if p >= q else 1 - larger


def preference(pair: Pair, said: Sequence[Said], clamp: float) -> dict[str, Any]:
    """A row of the pair and what was said of it in both orders: `chosen`, `rejected` and `share`, at least 1/2, that of
    the chosen one; or `failure`, where one of the answers names no letter."""
    row = {
        "id": pair.id,
        "problem": pair.problem["problem"],
        "principle": pair.principle.choice,
        "shares": [one.share for one in said],
        "said": [one.text for one in said],
    }
    in_order, turned = (one.share for one in said)
    if in_order is None or turned is None:
        told = next(one for one in said if one.share is None)
        return row | {"failure": {"part": "feedback", "kind": "unjudged", "message": told.reason}}
    share = share_of_first(in_order, turned, clamp)
    chosen, rejected = (pair.first, pair.second) if share >= 0.5 else (pair.second, pair.first)
    sides = {"chosen": chosen["completion"], "rejected": rejected["completion"], "share": max(share, 1 - share)}
    return row | sides | {"rewards": [chosen["reward"], rejected["reward"]]}


Likely = Sequence[tuple[str, Mapping[str, float]]]
"""Of each token of an answer its text, and what could have stood there: text → log-probability."""


def read_letter(text: str, likely: Likely = ()) -> Said:
    """What a text says behind its thoughts, a letter in brackets or one by itself; and how surely, where the
    probabilities of its tokens are known."""
    answer = _THOUGHT.sub("", text)
    alone = _ALONE.fullmatch(answer)
    named = {alone[1]} if alone else set(_NAMED.findall(answer))
    if len(named) != 1:
        found = "both letters" if named else "neither letter"
        return Said(None, text, f"the answer names {found}: {' '.join(answer.split())[:80]!r}; expected (A) or (B)")
    (letter,) = named
    of_letter = [others for token, others in likely if _bare(token) == letter]
    if of_letter:
        p, q = (sum(math.exp(x) for token, x in of_letter[-1].items() if _bare(token) == one) for one in "AB")
        if p + q > 0:
            return Said(p / (p + q), text)
    return Said(float(letter == "A"), text)


def _bare(token: str) -> str:
    """A token without the brackets that some tokenizers have in it."""
    return token.strip(" ()\n.")
