"""What is wrong with the settings of drawing completions."""

from __future__ import annotations

from rl_reason.data.generated import FORMATS
from rl_reason.data.revising import ASKS
from rl_reason.errors import UsageError
from rl_reason.recipes.checks.common import (
    OF_DISTILLATION,
    OF_DOCUMENTS,
    OF_LEARNED_REWARDS,
    OF_PIPELINES,
    OF_PREFERENCE,
    OF_REWARD_MODEL,
    OF_SAMPLED_MODEL,
    at_least,
    check_collecting,
    check_constitution,
    check_rules,
    keys_of,
    one_of,
    unread,
)
from rl_reason.runtime.endpoint import check as check_endpoint
from rl_reason.settings import OF_LOADED_MODEL, Settings


def check_generation(settings: Settings) -> None:
    """The keys of `recipes.generation`."""
    unread(settings, OF_PIPELINES, "by generating")
    check_collecting(settings)
    check_rules(settings)
    at_least("seed", settings.seed, 0)
    at_least("data.problems", settings.data.problems, 0)
    at_least("data.max_prompt_length", settings.data.max_prompt_length, 1)
    at_least("sampling.max_length", settings.sampling.max_length, 1)
    at_least("generate.shard_size", settings.generate.shard_size, 1)
    one_of("generate.format", settings.generate.format, FORMATS)
    one_of("data.unreadable", settings.data.unreadable, ("error", "drop"))
    one_of("data.long_prompts", settings.data.long_prompts, ("error", "drop"))
    path, url = settings.model.path, settings.endpoint.url
    if bool(path) == bool(url):
        told = "expected one of the two" if path else "expected one of them, which draws the samples"
        raise UsageError(f"config.model.path={path!r} and config.endpoint.url={url!r}: {told}")
    groups = ("algorithm", "critic", "retraining", "evaluation", "checkpoint", "log")
    keys: tuple[str, ...] = ("steps", "watchdog", "profile", "data.solutions", "data.row_length")
    keys += ("collect.threshold", "collect.keep", *OF_DOCUMENTS)
    of_model = tuple(key for key in keys_of("model") if key not in OF_SAMPLED_MODEL)
    unread(settings, (*keys, *of_model, *OF_REWARD_MODEL, *OF_PREFERENCE, *OF_DISTILLATION), "by generating")
    unread(settings, tuple(key for group in groups for key in keys_of(group)), "by generating")
    if url:
        check_endpoint(settings.endpoint, "config.endpoint")
        unread(settings, OF_LOADED_MODEL, "where config.endpoint.url names a server")
    else:
        unread(settings, keys_of("endpoint"), "where config.endpoint.url is empty")
    unread(settings, OF_LEARNED_REWARDS, "where completions are collected")
    _check_asking(settings)


def _check_asking(settings: Settings) -> None:
    """What is asked about completions that are there."""
    asked = settings.constitution
    unread(settings, keys_of("feedback"), "by generating")
    if asked.asks:
        one_of("constitution.asks", asked.asks, ASKS)
        unread(settings, ("data.split", "data.dir"), f"where config.constitution.asks is {asked.asks!r}")
    if asked.asks == "critique":
        check_constitution(settings)
    else:
        unread(settings, ("constitution.file",), f"where config.constitution.asks is {asked.asks!r}")
