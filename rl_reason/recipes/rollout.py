"""From sampled completions to the batch that the trainer sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from rl_reason.data.iterators import EncodedPrompt, left_pad
from rl_reason.objectives.advantages import group_relative, leave_one_out, process_relative, whiten
from rl_reason.objectives.kl import estimate
from rl_reason.objectives.reductions import token_weights
from rl_reason.recipes.evaluation import Samples
from rl_reason.settings import Algorithm

Batch = dict[str, np.ndarray]
Steps = tuple[np.ndarray, np.ndarray]
"""Of each token the reward of the step that it ends, and 1 where it ends one: float32 [B, T]."""


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


def advantages(rewards_B: np.ndarray, batch: Batch, algorithm: Algorithm, steps: Steps | None = None) -> np.ndarray:
    """Of completions, float32 [B], or of their tokens, [B, T].

    They are those of the whole exploration, and do not depend on how it is cut up afterwards. With
    `kl_in="reward"` the batch holds `reference_logprobs`; `steps` is what "process" reads in place of `rewards_B`.
    """
    if algorithm.advantage == "process":
        assert steps is not None
        return _of_steps(steps, algorithm)
    rewards_QG, mask_BT = jnp.asarray(rewards_B).reshape(-1, algorithm.group_size), jnp.asarray(batch["mask"])
    penalty_BT = _penalty(batch, algorithm) * mask_BT
    if algorithm.advantage not in WHITENED:
        rewards_QG = rewards_QG - jnp.sum(penalty_BT, axis=1).reshape(rewards_QG.shape)
    advantages_B = _OF_REWARDS[algorithm.advantage](rewards_QG, algorithm).reshape(-1)
    if algorithm.advantage not in WHITENED:
        return np.asarray(advantages_B)
    # A token answers for what comes after it.
    to_come_BT = jnp.cumsum(penalty_BT[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(whiten(advantages_B[:, None] * mask_BT - to_come_BT, mask_BT, algorithm.eps))


def _of_steps(steps: Steps, algorithm: Algorithm) -> np.ndarray:
    in_groups = lambda x: jnp.asarray(x).reshape(-1, algorithm.group_size, x.shape[1])  # noqa: E731
    rewards_BT, ends_BT = steps
    made = process_relative(in_groups(rewards_BT), in_groups(ends_BT), algorithm.ddof, algorithm.eps)
    return np.asarray(made).reshape(rewards_BT.shape)


def token_rewards(rewards_B: np.ndarray, batch: Batch, algorithm: Algorithm, steps: Steps | None = None) -> jax.Array:
    """What each token is given, float32 [B, T]: a completion's reward at its last one, or the rewards of its steps
    where these end, less the KL penalty where that is in the reward."""
    mask_BT = jnp.asarray(batch["mask"])
    if steps is None:
        is_last_BT = mask_BT - jnp.pad(mask_BT[:, 1:], ((0, 0), (0, 1)))
        given_BT = is_last_BT * jnp.asarray(rewards_B)[:, None]
    else:
        given_BT = jnp.asarray(steps[0])
    return given_BT - _penalty(batch, algorithm) * mask_BT


def _penalty(batch: Batch, algorithm: Algorithm) -> jax.Array:
    """What is taken off the reward of each token, [B, T], of the policy that sampled."""
    if algorithm.kl_in != "reward":
        return jnp.zeros(batch["mask"].shape)
    ours, reference = batch.get("old_logprobs", batch["sampler_logprobs"]), batch["reference_logprobs"]
    of_policy = (jnp.asarray(ours), jnp.asarray(reference), jnp.ones(ours.shape))
    return algorithm.kl_coef * estimate(algorithm.kl_estimator, *of_policy, algorithm.kl_limit)


_OF_REWARDS: dict[str, Callable[[jax.Array, Algorithm], jax.Array]] = {
    "group": lambda r, algorithm: group_relative(r, True, algorithm.ddof, algorithm.eps),
    "centered": lambda r, _: group_relative(r, False),
    "leave_one_out": lambda r, _: leave_one_out(r),
    "leave_one_out_std": lambda r, algorithm: leave_one_out(r, True, algorithm.eps),
    "reward": lambda r, _: r,
    "batch": lambda r, _: r,
    "group_batch": lambda r, _: group_relative(r, False),
}
"""By `algorithm.advantage`: the advantages [Q, G] of rewards, before the whitening of a batch."""
ADVANTAGES, WHITENED = (*_OF_REWARDS, "process", "gae"), ("batch", "group_batch")


OF_STEPS = ("process", "gae")
"""Those that read rewards of steps. A critic's, "gae", are made by `critic.advantages_by_critic`."""


def cut_minibatches(batch: Batch, count: int, seed: Sequence[int]) -> list[Batch]:
    """The batch's rows in `count` parts of equal size, in an order drawn from the seed; as they are if there is one."""
    if count == 1:
        return [batch]
    order = np.random.default_rng(seed).permutation(len(batch["advantages"]))
    return [{name: array[rows] for name, array in batch.items()} for rows in np.split(order, count)]


def weigh(batch: Batch, reduction: str, limit: int) -> tuple[Batch, float]:
    """Adds the `weights` [B, T] of a minibatch's tokens; returns their denominator beside it. `limit`: tokens that a
    completion could have."""
    weights_BT, denominator = token_weights(jnp.asarray(batch["mask"]), reduction, limit)
    return {**batch, "weights": np.asarray(weights_BT)}, float(denominator)
