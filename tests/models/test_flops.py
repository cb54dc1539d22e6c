"""FLOPs that a model needs, against those of the traced forward pass."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_reason.models import flops, weights
from rl_reason.models.decoder import forward, head_weights
from rl_reason.models.families import from_shape
from rl_reason.parallel import compiled

BASE = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512,
}  # fmt: skip
SHAPES = {
    "qwen2": {"model_type": "qwen2"},
    "untied": {"model_type": "llama", "tie_word_embeddings": False},
    "latent": {
        "model_type": "deepseek_v3", "q_lora_rank": 16, "kv_lora_rank": 24, "qk_nope_head_dim": 8,
        "qk_rope_head_dim": 4, "v_head_dim": 12, "n_routed_experts": 8, "num_experts_per_tok": 2,
        "moe_intermediate_size": 20, "n_shared_experts": 1, "first_k_dense_replace": 1, "n_group": 2, "topk_group": 1,
        "routed_scaling_factor": 1.0, "norm_topk_prob": True, "num_key_value_heads": 4,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_a_forward_pass_needs_what_its_products_compute(name):
    """A row whose tokens all count. Dense attention computes both halves of the square, of which half is needed."""
    config, length = from_shape(BASE | SHAPES[name], 64), 16
    params = jax.eval_shape(lambda key: weights.initialize(config, key), jax.random.key(0))
    tokens = jax.ShapeDtypeStruct((1, length), jnp.int32)
    traced = jax.jit(lambda p, x: forward(p, x, jnp.ones_like(x), config)).trace(params, tokens)
    none, all_tokens = np.array([0]), np.array([length])
    layers, heads = flops.products(config)
    needed = flops.forward(config, none, none, all_tokens)
    attention = needed - (layers + heads) * length
    assert attention > 0
    if config.latent:  # is computed on the compressed keys and values, which are wider
        attention *= sum(config.cached[1:]) / (config.head_dim + config.latent.value_dim)
    assert compiled.flops(traced.jaxpr) == pytest.approx(layers * length + attention * 2 * 16 / 17, rel=4e-3)
    hidden = jax.ShapeDtypeStruct((length, config.hidden_size), jnp.float32)
    logits = jax.jit(lambda p, x: x @ head_weights(p).T).trace(params, hidden)
    assert compiled.flops(logits.jaxpr) == heads * length


def test_prompts_are_counted_once_and_windows_limit_what_is_seen():
    config = from_shape(BASE | SHAPES["qwen2"], 64)
    one = flops.forward(config, np.array([10]), np.array([10]), np.array([5]))
    two = flops.forward(config, np.array([10]), np.array([10, 10]), np.array([5, 5]))
    prompt = flops.forward(config, np.array([10]), np.array([10]), np.array([0]))
    assert two - one == pytest.approx(one - prompt)
    layers, heads = flops.products(config)
    of_pair = 2 * 4 * 16 * 3  # heads · (width of key and value) · layers, multiplied and added
    assert prompt == layers * 10 + of_pair * 55
    assert one - prompt == (layers + heads) * 5 + of_pair * (11 + 12 + 13 + 14 + 15)
    narrow = dataclasses.replace(config, layer_windows=(4, 0, 0))
    seen = flops.forward(narrow, np.array([10]), np.array([10]), np.array([0])) - layers * 10
    assert seen == of_pair / 3 * (2 * 55 + (1 + 2 + 3 + 7 * 4))


def test_the_peak_of_a_device():
    assert flops.peak("TPU v5 lite", "bfloat16") == 197e12 and flops.peak("TPU v5p", "bfloat16") == 459e12
    assert flops.peak("NVIDIA H100 80GB HBM3", "bfloat16") == 989e12
    assert flops.peak("cpu", "bfloat16") is None and flops.peak("TPU v4", "float32") is None
