"""Rewards of a completion's length."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

MARGIN = 0.2
"""L_cache / L_max of DAPO, 4,096 of 20,480 tokens."""


def length(completion: str, problem: Mapping) -> float:
    """0 up to 80% of `problem["max_characters"]`, then falling to −1 there, and −1 beyond.

    DAPO's soft penalty (see `overlong_penalty`) in characters of the text, for where there are no tokens, and for
    limits that differ between problems. A row without the key takes `config.reward.max_characters`.

    Raises:
        ValueError: no positive limit.
    """
    check_gold(problem)
    return float(overlong_penalty(np.array([len(completion)]), problem["max_characters"], MARGIN)[0])


def check_gold(problem: Mapping) -> None:
    """Raises `ValueError` unless `max_characters` is a positive number."""
    limit = problem.get("max_characters")
    if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not 0 < limit < float("inf"):
        raise ValueError(f"max_characters={limit!r:.80}: expected a positive number")


length.check_gold = check_gold  # type: ignore[attr-defined]


def overlong_penalty(lengths_B: np.ndarray, limit: float, margin: float) -> np.ndarray:
    """0 up to `limit − margin` tokens, then falling to −1 at the limit, where a completion is cut off; float32 [B].

    DAPO's soft penalty (arXiv 2503.14476, equation 13).

    Args:
        lengths_B: tokens of each completion.
        limit: the greatest length, L_max.
        margin: L_cache, more than 0; below 1 its share of the limit.
    """
    margin = margin * limit if margin < 1 else margin
    return np.clip((limit - margin - lengths_B) / margin, -1.0, 0.0).astype(np.float32)
