"""Which of a question's right completions are worth learning from: those that differ."""

from __future__ import annotations

import re
from collections.abc import Sequence

_AROUND_SIGNS = re.compile(r"\s*([-+*/×÷=])\s*")
_CALCULATION = re.compile(r"[-+*/×÷().0-9]*[0-9)][-+*/×÷][-+*/×÷().0-9]+=-?[0-9.]*[0-9]")


def fingerprint(text: str) -> tuple[str, ...]:
    """What two completions share that say the same: their calculations in their order (as in rejection-sampling
    fine-tuning, arXiv 2308.01825), or the words where there are none, whatever their case."""
    calculations = _CALCULATION.findall(_AROUND_SIGNS.sub(r"\1", text))
    return tuple(calculations) or tuple(text.casefold().split())


def select(records: Sequence[dict], threshold: float, keep: int) -> list[dict]:
    """Of the records of one question (`recipes.collecting`) those of at least so much reward that end, the first of
    each `fingerprint`, at most `keep` (0: all). What was cut off has no end to be learned; whose reward failed is not
    known to be right."""
    kept: dict[tuple[str, ...], dict] = {}
    for record in records:
        if record["reward"] >= threshold and record["finish"] == "stop" and "failure" not in record:
            kept.setdefault(fingerprint(record["completion"]), record)
    return list(kept.values())[: keep or len(kept)]
