"""Sampling one step ahead (`config.sampling.ahead`): the completions of step N + 1 are sampled before the update of
step N, by π_b, the policy that this update changes.

The devices do not wait for the host then: in their line stand the update of step N − 1, the scores of step N and the
sampling of step N + 1, all while the host decodes and grades the completions of step N. What is trained on is one
update old. Step N + 1 begins with π_old, the policy after update N, and its loss is the decoupled one of PPO (arXiv
2110.00641; for language models AReaL, arXiv 2505.24298): the ratio π/π_old, which is clipped, says how far the step's
own updates have gone, and what another policy sampled is weighed, by tokens or completions
(`config.algorithm.correction`):

    min(π_old/π_b, C) · surrogate(π/π_old, Â)

log π_b is what the sampler computed, so that the weight corrects its rounding too. With one update a step π is π_old,
and needs no pass over the completions but the update's own. Advantages, KL terms, values and returns are of the models
as the step begins with them, and are not weighed.

What was sampled ahead is saved with the position in the data: the policy that could sample it again is gone by then.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from rl_reason.data.iterators import EncodedPrompt
from rl_reason.data.prompt_selection import Questions
from rl_reason.recipes.evaluation import Samples

KEY = "ahead"
"""In the position in the data."""


class Rollout(NamedTuple):
    """Questions and G completions of each."""

    asked: list[EncodedPrompt]
    samples: Samples


def position_of(data: Questions, ahead: Rollout | None) -> dict[str, Any]:
    """Where the data stand, and what has been sampled ahead, as JSON values: of each token its number and the bits of
    its log-probability."""
    position = dict(data.get_state())
    if ahead is None:
        return position
    samples = ahead.samples
    is_token_BT = _tokens(samples.lengths, samples.tokens.shape[1])
    saved = {
        "questions": [prompt.index for prompt in ahead.asked],
        "lengths": samples.lengths.tolist(),
        "finished": samples.finished.tolist(),
        "tokens": _to_text(samples.tokens[is_token_BT], "<i4"),
        "logprobs": _to_text(samples.logprobs[is_token_BT], "<f4"),
    }
    return {**position, KEY: saved}


def take_position(
    position: Mapping[str, Any],
    data: Questions,
    prompts: Sequence[EncodedPrompt],
    max_length: int,
    pad_id: int,
) -> Rollout | None:
    """Puts the data where `position_of` found them, with {} at their beginning; returns what was sampled ahead."""
    if where := {name: x for name, x in position.items() if name != KEY}:
        data.set_state(where)
    if not (saved := position.get(KEY)):
        return None
    lengths_B = np.array(saved["lengths"], np.int32)
    is_token_BT = _tokens(lengths_B, max_length)
    tokens_BT = np.full(is_token_BT.shape, pad_id, np.int32)
    logprobs_BT = np.zeros(is_token_BT.shape, np.float32)
    tokens_BT[is_token_BT] = _from_text(saved["tokens"], "<i4")
    logprobs_BT[is_token_BT] = _from_text(saved["logprobs"], "<f4")
    of_index = {prompt.index: prompt for prompt in prompts}
    asked = [of_index[index] for index in saved["questions"]]
    return Rollout(asked, Samples(tokens_BT, logprobs_BT, lengths_B, np.array(saved["finished"], bool)))


def name_apart(updates: Sequence[Mapping[str, jax.Array]]) -> list[dict[str, jax.Array]]:
    """Metrics of updates on what was sampled ahead. There the difference between what the trainer computes and what the
    sampler did is an update, and no rounding."""
    rename = lambda name: name.replace("logprob_difference/", "staleness/difference/")  # noqa: E731
    return [{rename(name): x for name, x in metrics.items()} for metrics in updates]


def _tokens(lengths_B: np.ndarray, length: int) -> np.ndarray:
    return np.arange(length)[None] < lengths_B[:, None]


def _to_text(values: np.ndarray, dtype: str) -> str:
    return base64.b64encode(values.astype(dtype).tobytes()).decode()


def _from_text(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype)
