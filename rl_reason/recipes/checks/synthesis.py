"""What is wrong with the settings of making problems of plane geometry."""

from __future__ import annotations

import dataclasses

from rl_reason.errors import UsageError
from rl_reason.geometry.engine import check_package
from rl_reason.recipes.checks.common import at_least, unread
from rl_reason.settings import Settings

MOST_CLAUSES = 20
"""Of a figure: the points of more have no names."""


def check_synthesis(settings: Settings) -> None:
    """The keys of `recipes.synthesis`: those of `synthesis`, and the seed."""
    wanted = settings.synthesis
    at_least("seed", settings.seed, 0)
    for key, least in (("figures", 1), ("held_out", 0), ("writings", 1), ("workers", 0), ("memory", 0)):
        at_least(f"synthesis.{key}", getattr(wanted, key), least)
    share = wanted.reinforcement
    if not 0 <= share < 1:
        raise UsageError(f"config.synthesis.reinforcement={share!r}: expected a share, from 0 to below 1")
    if not wanted.timeout > 0:
        raise UsageError(f"config.synthesis.timeout={wanted.timeout!r}: expected more than 0 seconds")
    clauses = wanted.clauses
    fit = len(clauses) == 2 and all(type(number) is int for number in clauses)
    if not fit or not 2 <= clauses[0] <= clauses[1] <= MOST_CLAUSES:
        raise UsageError(
            f"config.synthesis.clauses={clauses!r}: expected (least, most), two numbers from 2 to {MOST_CLAUSES}"
        )
    read = ("recipe", "seed", "synthesis")
    others = tuple(field.name for field in dataclasses.fields(Settings) if field.name not in read)
    unread(settings, others, "where problems are made of random figures")
    check_package("config.recipe='synthesis'")
