"""What is wrong with the settings of training on examples, and on those that a policy makes itself."""

from __future__ import annotations

from rl_reason.recipes.checks.common import (
    OF_COLLECTING,
    OF_LEARNED_REWARDS,
    OF_PREFERENCE,
    OF_SAMPLING,
    at_least,
    check_collecting,
    check_common,
    check_examples,
    unread,
)
from rl_reason.settings import Settings


def check_supervised(settings: Settings) -> None:
    """The keys of `recipes.supervised`."""
    check_common(settings)
    check_examples(settings)
    by = "by supervised training"
    unread(settings, (*OF_SAMPLING, *OF_LEARNED_REWARDS, *OF_COLLECTING, *OF_PREFERENCE), by)


def check_rejection(settings: Settings) -> None:
    """The keys of `recipes.rejection`."""
    check_common(settings)
    check_examples(settings)
    check_collecting(settings)
    at_least("collect.keep", settings.collect.keep, 0)
    unread(settings, ("data.solutions", *OF_PREFERENCE), "by rejection sampling")
