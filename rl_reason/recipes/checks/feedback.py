"""What is wrong with the settings of comparing completions."""

from __future__ import annotations

import dataclasses

from rl_reason.errors import UsageError
from rl_reason.recipes.checks.common import (
    OF_SAMPLED_MODEL,
    at_least,
    check_constitution,
    keys_of,
    one_of,
    unread,
)
from rl_reason.runtime.endpoint import check as check_endpoint
from rl_reason.sampling import logits
from rl_reason.settings import OF_LOADED_MODEL, Settings

_READ = (
    "recipe", "seed", "constitution.file", "feedback", "data.name", "data.problems", "data.template",
    "data.max_prompt_length", "data.long_prompts", "sampling.max_length", "sampling.temperature", "sampling.top_k",
    "sampling.top_p", "sampling.min_p", "sampling.batch_size", "algorithm.micro_batch", "endpoint", "mesh",
    *OF_SAMPLED_MODEL,
)  # fmt: skip


def check_feedback(settings: Settings) -> None:
    """The keys of `recipes.feedback`: which pairs, which principles, and who is asked."""
    data, sampling, asked = settings.data, settings.sampling, settings.feedback
    by = "where completions are compared"
    for field in dataclasses.fields(Settings):
        whole = dataclasses.is_dataclass(getattr(settings, field.name))
        keys = keys_of(field.name) if whole and field.name not in _READ else (field.name,)
        unread(settings, tuple(key for key in keys if key not in _READ), by)
    check_constitution(settings)
    at_least("seed", settings.seed, 0)
    at_least("feedback.pairs", asked.pairs, 1)
    if not 0 <= asked.clamp < 0.5:
        raise UsageError(f"config.feedback.clamp={asked.clamp!r}: expected 0 or more, less than 0.5")
    at_least("data.problems", data.problems, 0)
    at_least("data.max_prompt_length", data.max_prompt_length, 1)
    at_least("sampling.max_length", sampling.max_length, 1)
    at_least("sampling.batch_size", sampling.batch_size, 0)
    at_least("algorithm.micro_batch", settings.algorithm.micro_batch, 0)
    one_of("data.long_prompts", data.long_prompts, ("error", "drop"))
    logits.check(sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p, "config.sampling.")
    path, url = settings.model.path, settings.endpoint.url
    if bool(path) == bool(url):
        told = "expected one of the two" if path else "expected one of them, which says what is better"
        raise UsageError(f"config.model.path={path!r} and config.endpoint.url={url!r}: {told}")
    drawn = tuple(f"sampling.{key}" for key in ("temperature", "top_k", "top_p", "min_p"))
    if not asked.reasoning:
        unread(settings, drawn, "where config.feedback.reasoning is False")
    if url:
        check_endpoint(settings.endpoint, "config.endpoint")
        unread(settings, OF_LOADED_MODEL, "where config.endpoint.url names a server")
    else:
        unread(settings, keys_of("endpoint"), "where config.endpoint.url is empty")
        if not asked.reasoning:
            unread(settings, ("sampling.max_length",), "where config.feedback.reasoning is False")
