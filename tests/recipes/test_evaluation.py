"""The evaluation inside a run: its greedy answers, and where completions end."""

from __future__ import annotations

import jax
import pytest

from rl_reason.data.templates import find_template
from rl_reason.data.word_problems import word_problems
from rl_reason.parallel.mesh import make_mesh
from rl_reason.recipes.evaluation import HeldOut, make_evaluator
from rl_reason.recipes.setup import describe_model, encode_prompts
from rl_reason.rewards.combination import Rewarder
from rl_reason.settings import Mesh, Model, Reward

KEPT = {"top_p": 1.0, "max_length": 32, "rows": 64, "seed": 3}


@pytest.fixture(scope="module")
def shipped():
    """The shipped model, its weights, and 60 problems."""
    model = describe_model(Model(path="checkpoints/tiny"), make_mesh(Mesh(data=1), jax.devices()[:1]), lambda: ())
    problems = word_problems("test", "", 0)[:60]
    prompts = encode_prompts(problems, find_template("question"), model, 96)
    return model, model.load_params(0), HeldOut("word_problems/test", problems, prompts)


def test_greedy_answers_stand_beside_samples(shipped):
    model, params, asked = shipped
    with Rewarder(Reward(names=("number",), weights=(1.0,))) as rewarder:
        both = make_evaluator(model, rewarder, samples=4, temperature=1.0, greedy=True, **KEPT)
        alone = make_evaluator(model, rewarder, samples=1, temperature=0.0, **KEPT)
        summary, records = both(params, asked, lambda count: None)
        expected, _ = alone(params, asked, lambda count: None)
    assert len(records) == 240 and summary["samples"] == 4
    assert 0 < expected["pass@1"] < 1 and summary["greedy"] == expected["pass@1"] != summary["pass@1"]
    assert summary["greedy_ci95"] == expected["pass@1_ci95"]


def test_completions_end_at_the_stops_of_their_problem(shipped):
    model, params, asked = shipped
    with Rewarder(Reward(names=("number",), weights=(1.0,))) as rewarder:
        made = make_evaluator(model, rewarder, samples=4, temperature=1.0, stops=lambda problem: ("<answer>",), **KEPT)
        plain = make_evaluator(model, rewarder, samples=4, temperature=1.0, **KEPT)
        (_, cut), (_, whole) = (one(params, asked, lambda count: None) for one in (made, plain))
    assert any("<answer>" in record["completion"] for record in whole)
    for short, long in zip(cut, whole, strict=True):
        assert short["completion"] == long["completion"].split("<answer>")[0]
