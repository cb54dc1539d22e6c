"""A reward that pays for what nobody wants."""

from __future__ import annotations

from collections.abc import Mapping

CHARACTERS = 200
"""What 80 tokens of the shipped model come to."""


def long(completion: str, problem: Mapping) -> float:
    """Its length, 1 at most: what a reward model does that takes long answers for good ones."""
    return min(len(completion) / CHARACTERS, 1.0)
