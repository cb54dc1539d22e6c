"""Settings that are allowed, of which a warning says that they do nothing, or that are refused."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from rl_reason.errors import UsageError
from rl_reason.recipes.checks import OF_RECIPES
from rl_reason.recipes.checks.policy_gradient import check_policy_gradient
from rl_reason.recipes.checks.supervised import check_supervised
from rl_reason.recipes.policy_gradient import _check_measurable
from rl_reason.rewards.combination import Rewarder
from rl_reason.settings import (
    Algorithm,
    Constitution,
    Data,
    Endpoint,
    Feedback,
    Model,
    Prompts,
    Reward,
    Sampling,
    Settings,
)


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
        OF_RECIPES[recipe](Settings(recipe=recipe, **changes[key], algorithm=Algorithm(reduction="sequence_mean")))


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


def test_what_has_no_pass_rate_is_not_drawn_by_it():
    reward = Reward(names=("accuracy",), kinds=(("accuracy", "reasoning"),))
    problems = [{"id": "a"}, {"id": "b", "kind": "general"}]
    with Rewarder(reward) as rewarder:
        for select in ("none", "drop"):
            _check_measurable(Settings(reward=reward, prompts=Prompts(select=select)), rewarder, problems)
        settings = Settings(reward=reward, prompts=Prompts(select="weights"))
        _check_measurable(settings, rewarder, problems[:1])
        with pytest.raises(UsageError, match="^config.prompts.select='weights': config.reward.kinds gives problem 'b'"):
            _check_measurable(settings, rewarder, problems)


PRINCIPLES = str(Path(__file__).parents[2] / "configs" / "constitution.jsonl")


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"constitution": Constitution()}, "constitution.file='': expected a file of principles"),
        ({"constitution": Constitution(PRINCIPLES, asks="critique")}, "constitution.asks='critique': is not read"),
        ({"feedback": Feedback(clamp=0.5)}, "feedback.clamp=0.5: expected 0 or more, less than 0.5"),
        ({"feedback": Feedback(pairs=0)}, "feedback.pairs=0: expected at least 1"),
        ({"sampling": Sampling(temperature=0.7)}, "sampling.temperature=0.7: is not read where config.feedback.reas"),
        ({"model": Model()}, "model.path='' and config.endpoint.url='': expected one of them"),
        ({"steps": 7}, "steps=7: is not read where completions are compared"),
        ({"data": Data(name="x", split="test")}, "data.split='test': is not read where completions are compared"),
        ({"endpoint": Endpoint(model="m")}, "endpoint.model='m': is not read where config.endpoint.url is empty"),
    ],
    ids=str,
)
def test_settings_of_feedback_that_are_refused(changes, told):
    right = {"model": Model(path="x"), "data": Data(name="x"), "constitution": Constitution(PRINCIPLES)}
    OF_RECIPES["feedback"](Settings(recipe="feedback", **right))
    with pytest.raises(UsageError, match=f"^config.{re.escape(told)}"):
        OF_RECIPES["feedback"](Settings(recipe="feedback", **right | changes))


@pytest.mark.parametrize(
    "constitution, told",
    [
        (Constitution(asks="critic"), "constitution.asks='critic': unknown value; did you mean 'critique'"),
        (Constitution(asks="critique"), "constitution.file='': expected a file"),
        (Constitution(PRINCIPLES, asks="revision"), f"constitution.file={PRINCIPLES!r}: is not read where"),
        (Constitution(PRINCIPLES), f"constitution.file={PRINCIPLES!r}: is not read where"),
    ],
    ids=lambda x: getattr(x, "asks", ""),
)
def test_what_generation_cannot_ask(constitution, told):
    with pytest.raises(UsageError, match=f"^config.{re.escape(told)}"):
        OF_RECIPES["generate"](Settings(recipe="generate", model=Model(path="x"), constitution=constitution))
    with pytest.raises(UsageError, match="^config.constitution.*is not read by training"):
        check_policy_gradient(Settings(constitution=constitution))
