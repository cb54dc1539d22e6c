"""Rewards of a completion's length, in tokens."""

from __future__ import annotations

import numpy as np


def overlong_penalty(lengths_B: np.ndarray, limit: int, margin: float) -> np.ndarray:
    """0 up to `limit − margin` tokens, then falling to −1 at the limit, where a completion is cut off; float32 [B].

    DAPO's soft penalty (arXiv 2503.14476, equation 13).

    Args:
        lengths_B: tokens of each completion.
        limit: the greatest length, L_max.
        margin: L_cache, more than 0; below 1 its share of the limit.
    """
    margin = margin * limit if margin < 1 else margin
    return np.clip((limit - margin - lengths_B) / margin, -1.0, 0.0).astype(np.float32)
