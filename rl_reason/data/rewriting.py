"""Rules by which a completion is written anew to be read (`config.selection.rewrite`); where a model does it, its
template is `data.templates.rewrite`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping

_PARTS = re.compile(r"\s*<think>(.*?)</think>\s*<answer>(.*?)</answer>\s*", re.DOTALL)


def readable(completion: str, problem: Mapping) -> str | None:
    """The thought line by line without what is empty or said twice in a row, white space in order; then the answer.

    None where the completion is not of R1-Zero's form, or thinks nothing: a cold start shows how to think.
    """
    parts = _PARTS.fullmatch(completion)
    if not parts:
        return None
    lines = (" ".join(line.split()) for line in parts[1].splitlines())
    kept = [line for line, _ in itertools.groupby(filter(None, lines))]
    return f"<think>{chr(10).join(kept)}</think><answer>{parts[2].strip()}</answer>" if kept else None
