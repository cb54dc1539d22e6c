"""Settings that are allowed, of which a warning says that they do nothing, or that are refused."""

from __future__ import annotations

import logging

import pytest

from rl_reason.errors import UsageError
from rl_reason.recipes.checks import check_policy_gradient, check_supervised
from rl_reason.settings import Algorithm, Reward, Sampling, Settings


@pytest.mark.parametrize(
    "changes, warns",
    [
        ({}, False),
        ({"clip_low": 0.5, "clip_high": 0.5}, True),
        ({"clip_high": 0.28}, True),
        ({"dual_clip": 3.0}, True),
        ({"surrogate": "sapo"}, True),
        ({"surrogate": "cispo"}, True),
        ({"clip_low": 0.5, "clip_high": 0.5, "minibatches": 2}, False),
        ({"dual_clip": 3.0, "updates": 2}, False),
        ({"clip_high": 0.28, "old_logprobs": "sampler"}, False),
    ],
    ids=str,
)
def test_what_limits_the_ratio_where_it_is_1(changes, warns, caplog):
    with caplog.at_level(logging.WARNING):
        check_policy_gradient(Settings(algorithm=Algorithm(**changes)))
    assert ("does nothing" in caplog.text) == warns


def test_a_limit_that_grows():
    sampling = Sampling(max_length=9, lengths=((1, 4), (3, 6), (8, 9)))
    check_policy_gradient(Settings(sampling=sampling, reward=Reward(overlong=4.0)))
    assert [sampling.limit(step) for step in range(1, 11)] == [4, 4, 6, 6, 6, 6, 6, 9, 9, 9]
    assert Sampling(max_length=9).limit(7) == 9


@pytest.mark.parametrize(
    "lengths, told",
    [
        (((1, 4), (3, 6)), "ends with 6; expected config.sampling.max_length=9"),
        (((2, 4), (3, 9)), "begins at step 2; expected 1"),
        (((1, 4), (3, 3), (5, 9)), "tokens that grow"),
        (((1, 4), (1, 9)), "steps and tokens that grow"),
        (((0, 4), (3, 9)), "steps and tokens that grow"),
        ((1, 9), "expected ((first step, tokens), …)"),
        (((1, 4.5), (3, 9)), "expected ((first step, tokens), …)"),
        (((1, 4, 5), (9,)), "expected ((first step, tokens), …)"),
        (((1, "4"), (3, 9)), "expected ((first step, tokens), …)"),
    ],
    ids=str,
)
def test_lengths_that_are_none(lengths, told):
    with pytest.raises(UsageError) as raised:
        check_policy_gradient(Settings(sampling=Sampling(max_length=9, lengths=lengths)))
    assert str(raised.value).startswith(f"config.sampling.lengths={lengths!r}: ") and told in str(raised.value)


def test_a_limit_that_grows_and_what_else_reads_it():
    sampling = Sampling(max_length=9, lengths=((1, 4), (3, 9)))
    with pytest.raises(UsageError, match=r"overlong=5.0: expected 0 to config.sampling.lengths, at first 4"):
        check_policy_gradient(Settings(sampling=sampling, reward=Reward(overlong=5.0)))
    supervised = Settings(recipe="supervised", sampling=sampling, algorithm=Algorithm(group_size=64))
    with pytest.raises(UsageError, match=r"config.sampling.lengths=.* is not read by supervised training"):
        check_supervised(supervised)
