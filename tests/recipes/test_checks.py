"""Settings that are allowed, and of which a warning says that they do nothing."""

from __future__ import annotations

import logging

import pytest

from rl_reason.recipes.checks import check_policy_gradient
from rl_reason.settings import Algorithm, Settings


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
