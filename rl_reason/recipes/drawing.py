"""Completions drawn from a policy as `config.sampling` says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax

from rl_reason.data.iterators import EncodedPrompt, padded_length
from rl_reason.parallel import company
from rl_reason.recipes.accumulation import rows_at_once
from rl_reason.recipes.evaluation import start_sampling
from rl_reason.recipes.setup import Model
from rl_reason.recipes.state import State
from rl_reason.sampling.sampler import Sampler, make_sampler
from rl_reason.settings import Settings


def make_policy_sampler(settings: Settings, model: Model, group_size: int) -> Sampler:
    """Draws so many completions of each question."""
    sampling = settings.sampling
    return make_sampler(
        model.config,
        group_size=group_size,
        max_length=sampling.max_length,
        stop_ids=model.stop_ids,
        pad_id=model.pad_id,
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        min_p=sampling.min_p,
        dtype=model.dtype,
        constrain=model.constrain,
        decoding=model.decoding,
    )


def make_sample(settings: Settings, model: Model, sampler: Sampler, prompt_length: int) -> Callable:
    """`sample(state, prompts, step, draw)` dispatches the sampling of a batch of questions, some at a time;
    `evaluation.to_host` waits. `draw` numbers the batches of a step, which may hold a question twice; `prompt_length`
    is that of the longest prompt."""
    group = settings.algorithm.group_size
    questions = rows_at_once(settings.sampling.batch_size, settings.algorithm.batch_size) // group
    seed_key = jax.random.key(settings.seed)

    def sample(state: State, asked: Sequence[EncodedPrompt], step: int, draw: int = 0) -> list:
        key = jax.random.fold_in(seed_key, step)
        key = jax.random.fold_in(key, draw) if draw else key
        parts = [asked[i : i + questions] for i in range(0, len(asked), questions)]
        length = company.most(padded_length(asked, prompt_length))
        weights, limit = sampler.move(state["train"].policy), settings.sampling.limit(step)
        begin = lambda part: start_sampling(sampler, model, weights, part, length, key, limit)  # noqa: E731
        # Each has its own caches: a part begins when the one before it has finished.
        return [begin(parts[0]), *(lambda part=part: begin(part)() for part in parts[1:])]

    return sample
