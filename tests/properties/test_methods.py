"""The unified view: for each method the gradient that its recipe computes is Σ w · GC · ∇log π, by the table's row.

`experiments/paradigm` has both sides, and the coefficients as the paper writes them, which the table's have to equal.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.paradigm import coefficients, gradients, run
from experiments.paradigm.gradients import Sizes
from rl_reason.errors import RunError
from rl_reason.objectives.methods import METHODS


def by_table(name):
    def coefficient(tokens, beta):
        return METHODS[name].coefficient({key: jnp.asarray(value) for key, value in tokens.items()}, beta)

    return coefficient


def check(name, seed, model, params, sizes):
    """Of a loss relative to each weight's gradient; and the row's coefficient is the paper's."""
    case = gradients.make(name, model, params, sizes)(seed)
    expected = gradients.summed(name, case, model, params, by_table(name))
    assert gradients.difference(case.gradient, expected) < 1e-5
    logprobs = np.asarray(gradients.plain_logprobs(params, model, case.batch))
    mine = by_table(name)({**case.tokens, "mask": case.batch["mask"], "logprobs": logprobs}, case.beta)
    np.testing.assert_allclose(mine, coefficients.OF[name](case, logprobs.astype(float)), rtol=1e-4, atol=1e-5)
    return case, logprobs


@pytest.mark.parametrize("name", [name for name, m in METHODS.items() if m.recipe == "policy_gradient"])
@pytest.mark.parametrize("seed", [0, 1])
def test_policy_gradient_methods(name, seed, describe, params):
    case, _ = check(name, seed, describe(), params, Sizes())
    # The ratio of the first update is 1, and nothing is clipped.
    np.testing.assert_allclose(case.watched["ratio/mean"] / case.batch["mask"].sum(), 1.0, rtol=1e-6)
    assert case.watched["ratio/clipped"] == 0


@pytest.mark.parametrize("name, micro_batch", [("sft", 1), ("sft", 2), ("rft", 0)])
def test_supervised_methods(name, micro_batch, describe, params):
    """However the packed rows are put into pieces."""
    case, _ = check(name, 2, describe(), params, Sizes(micro_batch=micro_batch))
    assert 0 < case.watched["selected"]
    assert (case.watched["selected"] < case.watched["of"]) == (name == "rft")


@pytest.mark.parametrize("name, micro_batch", [("dpo", 0), ("dpo", 1), ("dpo_mean", 3)])
def test_preference_methods(name, micro_batch, describe, params):
    """However the two completions of a pair are put into pieces."""
    case, logprobs = check(name, 5, describe(), params, Sizes(micro_batch=micro_batch))
    assert 0 < case.watched["preference/accuracy"] < 1
    of_pairs = logprobs.sum(axis=1)
    np.testing.assert_allclose(case.watched["logprobs/chosen"], of_pairs[0::2].mean(), rtol=1e-5)
    np.testing.assert_allclose(case.watched["logprobs/rejected"], of_pairs[1::2].mean(), rtol=1e-5)


def test_another_gradient_is_told(tmp_path, monkeypatch):
    """Of GRPO with k1 in the place of k3, whose gradient has mean 0, and of a table that is short of a row."""
    grpo = dataclasses.replace(METHODS["grpo"], settings={**METHODS["grpo"].settings, "kl_estimator": "k1"})
    table = {"sft": METHODS["sft"], "grpo": grpo}
    for module in (run, gradients):
        monkeypatch.setattr(module, "METHODS", table)
    monkeypatch.setattr(run, "SIZES", (Sizes(),))
    monkeypatch.setattr("sys.argv", ["run", "--seeds=1", f"--output={tmp_path}"])
    monkeypatch.setattr(run, "draw", lambda file: None)
    with pytest.raises(RunError, match="^grpo: the loss has another gradient"):
        run.main()
    assert (tmp_path / "results.json").is_file()


def test_each_row_has_the_papers_coefficient_written_out():
    assert {*coefficients.OF} == {*METHODS} and {*run.PAPER} <= {*METHODS}
