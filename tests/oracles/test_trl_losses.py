"""The losses that TRL computes, from numbers that TRL wrote (`make_trl_losses.py`)."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_reason import presets, settings
from rl_reason.objectives.policy_loss import PolicyLoss
from rl_reason.objectives.reductions import token_weights
from rl_reason.recipes.policy_update import make_loss
from rl_reason.recipes.rollout import advantages

STORED = json.loads(Path(__file__).with_name("trl_losses.json").read_text())
REDUCTIONS = {"grpo": "sequence_mean", "sapo": "sequence_mean", "dr_grpo": "length_normalized"}


def as_ours(case):
    """TRL's settings as ours."""
    low, high = case.get("epsilon_low", 0.2), case.get("epsilon_high", 0.2)
    made = {"clip_low": low, "clip_high": high, "dual_clip": case.get("delta", 0.0), "kl_coef": case.get("beta", 0.0)}
    made["entropy_coef"] = case.get("entropy_coef", 0.0)
    made["kl_estimator"] = "k3_weighted" if case.get("use_bias_correction_kl") else "k3"
    made["ratio_level"] = "sequence_mean" if case.get("importance_sampling_level") == "sequence" else "token"
    made["correction"] = "token_truncate" if case.get("use_vllm") else "none"
    if case["loss_type"] in ("cispo", "sapo"):
        made["surrogate"] = case["loss_type"]
    if case["loss_type"] == "cispo":  # its ε is the limit itself, and there is none below
        made |= {"clip_low": 1.0, "clip_high": high - 1}
    return PolicyLoss(**made)


def loss_and_gradient(policy_loss, reduction, advantages):
    x = {name: jnp.asarray(array, jnp.float32) for name, array in STORED["inputs"].items()}
    mask = x["mask"]
    weights, denominator = token_weights(mask, reduction, STORED["limit"])

    def loss(new):
        total, _ = policy_loss(
            new, x["old"], x["reference"] if policy_loss.kl_coef else None, x["sampler"], -new * jnp.exp(new),
            jnp.asarray(advantages, jnp.float32)[:, None], mask, mask.astype(jnp.int32), weights,
        )  # fmt: skip
        return total / denominator

    return jax.value_and_grad(loss)(x["new"])


def assert_stored(made, stored):
    value, gradient = made
    assert float(value) == pytest.approx(stored["loss"], rel=1e-5, abs=1e-7)
    np.testing.assert_allclose(gradient, stored["gradient"], rtol=1e-4, atol=1e-7)
    assert np.abs(stored["gradient"]).max() > 1e-3


@pytest.mark.parametrize("stored", STORED["cases"], ids=lambda stored: "-".join(map(str, stored["case"].values())))
def test_loss_and_gradient(stored):
    case = stored["case"]
    reduction = REDUCTIONS.get(case["loss_type"], "token_mean")
    assert_stored(loss_and_gradient(as_ours(case), reduction, STORED["inputs"]["advantages"]), stored)


def test_the_preset_is_what_trl_does_by_default():
    """From rewards to the loss, of a config file that says otherwise in everything."""
    stored = STORED["by_default"]
    config = settings.defaults()
    config.sampling.temperature = 0.7
    config.algorithm.update(
        {
            "advantage": "reward", "eps": 0.1, "surrogate": "cispo", "ratio_level": "sequence", "clip_low": 0.5,
            "clip_high": 0.6, "reduction": "sequence_sum", "kl_in": "reward", "kl_coef": 0.5,
            "group_size": stored["group_size"], "batch_size": len(stored["rewards"]), "updates": 2,
        }
    )  # fmt: skip
    presets.apply(config, "trl")
    made = settings.Settings.from_config(config)
    assert made.sampling.temperature == stored["temperature"]
    rewards = np.array(stored["rewards"], np.float32)
    of_completions = advantages(rewards, {"mask": np.array(STORED["inputs"]["mask"])}, made.algorithm)
    np.testing.assert_allclose(of_completions, stored["advantages"], rtol=1e-5)
    assert_stored(loss_and_gradient(make_loss(made.algorithm), made.algorithm.reduction, of_completions), stored)
