"""Settings that are allowed, of which a warning says that they do nothing, or that are refused."""

from __future__ import annotations

import logging

import pytest

from rl_reason.errors import UsageError
from rl_reason.recipes import checks
from rl_reason.recipes.checks import check_policy_gradient
from rl_reason.settings import Algorithm, Data, Prompts, Settings


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


EVEN = ((0, (0.25, 0.25, 0.25, 0.25)),)


@pytest.mark.parametrize(
    "prompts, told",
    [
        ({"select": "bucket", "shares": EVEN}, "select='bucket'.*did you mean 'buckets'"),
        ({"memory": 0.9}, "memory=0.9: is not read by config.prompts.select='none'"),
        ({"select": "drop", "floor": 0.2}, "floor=0.2: is not read by config.prompts.select='drop'"),
        ({"select": "drop", "unmeasured": 0.5}, "unmeasured=0.5: is not read"),
        ({"select": "weights", "drop_steps": 5}, "drop_steps=5: is not read by config.prompts.select='weights'"),
        ({"select": "weights", "shares": EVEN}, "shares=.* is not read"),
        ({"select": "drop", "memory": 1.0}, "memory=1.0: expected 0 or more, less than 1"),
        ({"select": "drop", "drop_after": 0}, "drop_after=0: expected at least 1"),
        ({"select": "drop", "drop_steps": 0}, "drop_steps=0: expected at least 1"),
        ({"select": "weights", "floor": -0.1}, "floor=-0.1: expected 0 or more, less than 1"),
        ({"select": "weights", "floor": 1.0}, "floor=1.0: expected 0 or more, less than 1"),
        ({"select": "weights", "unmeasured": 0.0}, "unmeasured=0.0: expected more than 0, at most 1"),
        ({"select": "weights", "edges": (0.5, 0.25)}, "edges=.*that rise"),
        ({"select": "weights", "edges": (0.0, 0.5)}, "edges=.*between 0 and 1"),
        ({"select": "weights", "edges": ("a",)}, "edges="),
        ({"select": "buckets"}, r"shares=\(\): expected .* 4 buckets"),
        ({"select": "buckets", "shares": EVEN, "edges": (0.5,)}, "shares=.* 2 buckets"),
        ({"select": "buckets", "shares": ((1, EVEN[0][1]),)}, "shares=.* the first at step 0"),
        ({"select": "buckets", "shares": (*EVEN, *EVEN)}, "shares="),
        ({"select": "buckets", "shares": ((0, (0.5, 0.25, 0.25, 0.25)),)}, "shares=.* sum up to 1"),
        ({"select": "buckets", "shares": ((0, (1.5, -0.5, 0.0, 0.0)),)}, "shares="),
        ({"select": "buckets", "shares": ((0, "1000"),)}, "shares="),
        ({"select": "buckets", "shares": (0.25, 0.25, 0.25, 0.25)}, "shares="),
    ],
    ids=str,
)
def test_selections_of_prompts_that_are_refused(prompts, told):
    with pytest.raises(UsageError, match=f"^config.prompts.{told}"):
        check_policy_gradient(Settings(prompts=Prompts(**prompts)))


@pytest.mark.parametrize(
    "prompts",
    [
        Prompts(select="drop", drop_after=1, drop_steps=1, memory=0.0, edges=()),
        Prompts(select="weights", floor=0.0, unmeasured=0.01),
        Prompts(select="buckets", shares=(*EVEN, (10, (0, 0, 1, 0)))),
    ],
    ids=lambda prompts: prompts.select,
)
def test_selections_of_prompts(prompts):
    check_policy_gradient(Settings(prompts=prompts, data=Data(name="gsm8k+math", joins=(("math", 50),))))


@pytest.mark.parametrize("recipe", ["supervised", "rejection", "preference", "reward_model"])
@pytest.mark.parametrize("key", ["prompts.select", "data.joins"])
def test_only_a_policy_gradient_selects_prompts(recipe, key):
    changes = {"prompts.select": {"prompts": Prompts(select="drop")}, "data.joins": {"data": Data(joins=(("a", 2),))}}
    with pytest.raises(UsageError, match=f"^config.{key}=.*is not read"):
        getattr(checks, f"check_{recipe}")(
            Settings(recipe=recipe, **changes[key], algorithm=Algorithm(reduction="sequence_mean"))
        )
