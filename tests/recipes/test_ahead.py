"""What was sampled ahead comes back from a checkpoint as it was, bit for bit."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from rl_reason.data.iterators import EncodedPrompt, prompt_iterator
from rl_reason.recipes.ahead import Rollout, name_apart, position_of, take_position
from rl_reason.recipes.evaluation import Samples
from rl_reason.recipes.policy_steps import scores_old_logprobs
from rl_reason.settings import Algorithm, Sampling, Settings

# Some problems have been left out: a prompt's index is not its place in the list.
PROMPTS = [EncodedPrompt(index, [index, 1]) for index in (0, 3, 4, 7, 8, 11)]
PAD, LENGTH = 99, 6


def rollout(asked):
    rng = np.random.default_rng(0)
    lengths = np.array([6, 1, 3, 5], np.int32)
    inside = np.arange(LENGTH)[None] < lengths[:, None]
    logprobs = np.where(inside, -rng.exponential(1.0, inside.shape), 0).astype(np.float32)
    logprobs[0, :3] = -1e-42, -0.0, -np.float32(1) / 3  # a subnormal number, a signed zero, one without a short name
    tokens = np.where(inside, rng.integers(0, 2**31 - 1, inside.shape), PAD).astype(np.int32)
    return Rollout(asked, Samples(tokens, logprobs, lengths, lengths < LENGTH))


def test_a_position_with_what_was_sampled_ahead():
    data = prompt_iterator(PROMPTS, 2, seed=1)
    next(data)
    ahead = rollout(next(data))
    position = json.loads(json.dumps(position_of(data, ahead)))
    expected = [next(data) for _ in range(4)]

    again = prompt_iterator(PROMPTS, 2, seed=1)
    restored = take_position(position, again, PROMPTS, LENGTH, PAD)
    assert restored.asked == ahead.asked
    for name, array in vars(ahead.samples).items():
        other = getattr(restored.samples, name)
        assert other.dtype == array.dtype and other.shape == array.shape
        assert other.tobytes() == array.tobytes(), name
    assert [next(again) for _ in range(4)] == expected


def test_positions_without():
    data, again = (prompt_iterator(PROMPTS, 2, seed=1) for _ in range(2))
    assert take_position({}, data, PROMPTS, LENGTH, PAD) is None
    next(data)
    position = position_of(data, None)
    assert position == data.get_state()
    assert take_position(position, again, PROMPTS, LENGTH, PAD) is None
    assert next(again) == next(data)


def test_an_older_policy_is_not_taken_for_rounding():
    (named,) = name_apart([{"logprob_difference/max": jnp.ones(()), "loss": jnp.zeros(())}])
    assert named == {"staleness/difference/max": 1, "loss": 0}


@pytest.mark.parametrize(
    "algorithm, ahead, expected",
    [
        ({}, 0, False),
        ({}, 1, False),
        ({"minibatches": 2}, 0, True),
        ({"updates": 2, "old_logprobs": "sampler"}, 0, False),
        # A KL in the reward is that of the policy that learns, and not of the one that sampled.
        ({"kl_in": "reward"}, 0, False),
        ({"kl_in": "reward"}, 1, True),
        ({"kl_in": "reward", "kl_coef": 0.0}, 1, False),
    ],
    ids=str,
)
def test_when_the_trainer_scores_what_was_sampled(algorithm, ahead, expected):
    settings = Settings(algorithm=Algorithm(**algorithm), sampling=Sampling(ahead=ahead))
    assert scores_old_logprobs(settings) == expected
