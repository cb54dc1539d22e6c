"""From sampled completions to the batch that the trainer sees."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from rl_reason.data.iterators import EncodedPrompt, left_pad
from rl_reason.objectives.advantages import group_relative
from rl_reason.objectives.reductions import token_weights
from rl_reason.recipes.evaluation import Samples
from rl_reason.settings import Algorithm

Batch = dict[str, np.ndarray]


def make_batch(
    prompts: Sequence[EncodedPrompt],
    samples: Samples,
    group: int,
    prompt_length: int,
    pad_id: int,
) -> Batch:
    """The arrays of one exploration, rows by question: the prompt, padded on the left, then the completion.

    Returns:
        int32 `tokens`, `segments` [B, P + T], `questions` [B]; float32 `mask` [B, T] (1 on the tokens of a completion),
        `sampler_logprobs` [B, T].
    """
    tokens_QP, lengths_Q = left_pad([prompt.prompt_ids for prompt in prompts], prompt_length, pad_id)
    prompt_mask_QP = np.arange(prompt_length)[None] >= prompt_length - lengths_Q[:, None]
    mask_BT = np.arange(samples.tokens.shape[1])[None] < samples.lengths[:, None]
    repeat = lambda x: np.repeat(x, group, axis=0)  # noqa: E731
    return {
        "tokens": np.concatenate([repeat(tokens_QP), samples.tokens], axis=1),
        "segments": np.concatenate([repeat(prompt_mask_QP), mask_BT], axis=1).astype(np.int32),
        "questions": np.repeat(np.arange(len(prompts), dtype=np.int32), group),
        "mask": mask_BT.astype(np.float32),
        "sampler_logprobs": samples.logprobs,
    }


def advantages(rewards_B: np.ndarray, algorithm: Algorithm) -> np.ndarray:
    """float32 [B], within the groups of the whole exploration: they do not depend on how it is cut up afterwards."""
    rewards_QG = jnp.asarray(rewards_B).reshape(-1, algorithm.group_size)
    return np.asarray(
        group_relative(rewards_QG, algorithm.advantage == "group", algorithm.ddof, algorithm.eps)
    ).reshape(-1)


def cut_minibatches(batch: Batch, count: int, seed: Sequence[int]) -> list[Batch]:
    """The batch's rows in `count` parts of equal size, in an order drawn from the seed; as they are if there is one."""
    if count == 1:
        return [batch]
    order = np.random.default_rng(seed).permutation(len(batch["advantages"]))
    return [{name: array[rows] for name, array in batch.items()} for rows in np.split(order, count)]


def weigh(batch: Batch, reduction: str, max_length: int) -> tuple[Batch, float]:
    """Adds the `weights` [B, T] of a minibatch's tokens; returns their denominator beside it."""
    weights_BT, denominator = token_weights(jnp.asarray(batch["mask"]), reduction, max_length)
    return {**batch, "weights": np.asarray(weights_BT)}, float(denominator)
