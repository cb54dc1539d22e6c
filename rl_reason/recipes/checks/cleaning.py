"""What is wrong with the settings of cleaning a set of problems."""

from __future__ import annotations

import dataclasses

from rl_reason.data.contamination import check_sizes
from rl_reason.errors import UsageError
from rl_reason.recipes.checks.common import at_least, keys_of, unread
from rl_reason.settings import Settings

OF_DATA = ("data.name", "data.dir", "data.split", "data.problems")


def check_clean(settings: Settings) -> None:
    """The keys of `recipes.cleaning`: those of `cleaning`, and which problems."""
    wanted = settings.cleaning
    if not 0 <= wanted.similarity <= 1:
        raise UsageError(f"config.cleaning.similarity={wanted.similarity!r}: expected 0 (off) to 1")
    at_least("seed", settings.seed, 0)
    at_least("data.problems", settings.data.problems, 0)
    if wanted.similarity:
        at_least("cleaning.words", wanted.words, 1)
    else:
        unread(settings, ("cleaning.words",), "where config.cleaning.similarity is 0")
    if wanted.evaluations:
        check_sizes(wanted.overlap_words, wanted.share, ("config.cleaning.overlap_words", "config.cleaning.share"))
    else:
        keys = tuple(f"cleaning.{key}" for key in ("split", "overlap_words", "share", "within"))
        unread(settings, keys, "where config.cleaning.evaluations is empty")
    if not wanted.similarity and not wanted.evaluations:
        raise UsageError(
            "config.cleaning.similarity=0 and config.cleaning.evaluations='': nothing is left out; expected one of them"
        )
    read = ("recipe", "seed", "data", "cleaning")
    others = tuple(field.name for field in dataclasses.fields(Settings) if field.name not in read)
    of_data = tuple(key for key in keys_of("data") if key not in OF_DATA)
    unread(settings, (*others, *of_data), "where problems are cleaned")
