"""Weights that stay float32 whatever the rest is computed in, and how a model's layers get into files."""

import hashlib
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_reason.models import families, huggingface, weights
from rl_reason.parallel import hosts

DEEPSEEK = families.model_config(
    {
        "model_type": "deepseek_v3", "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24,
        "num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 2, "q_lora_rank": 6,
        "kv_lora_rank": 8, "qk_nope_head_dim": 4, "qk_rope_head_dim": 4, "v_head_dim": 6, "first_k_dense_replace": 1,
        "moe_intermediate_size": 10, "n_routed_experts": 8, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
        "n_shared_experts": 1, "tie_word_embeddings": False, "max_position_embeddings": 64,
    }
)  # fmt: skip
PHI = families.model_config(
    {
        "model_type": "phi3", "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 4,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": None,
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def make():
    """make(config): random weights, biases among them."""

    def random(config):
        rng = np.random.default_rng(0)
        table = weights.table(config).items()
        return weights.tree({path: jnp.asarray(rng.normal(size=w.shape), jnp.float32) for path, w in table})

    return random


def places(config):
    one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return weights.tree({path: one for path in weights.table(config)})


def check_exact(cast, params):
    """All in bfloat16 but the bias of the choice of experts, which has the very bits that it had."""
    bias = cast["layers"]["router_bias"]
    assert bias.dtype == jnp.float32
    np.testing.assert_array_equal(bias, params["layers"]["router_bias"])
    assert not np.array_equal(bias, bias.astype(jnp.bfloat16).astype(jnp.float32))
    for path, leaf in jax.tree_util.tree_leaves_with_path(cast):
        assert path[-1].key == "router_bias" or leaf.dtype == jnp.bfloat16, path


def test_exact_weights_keep_float32_in_a_cast(make):
    params = make(DEEPSEEK)
    check_exact(jax.jit(lambda p: weights.cast(p, jnp.bfloat16))(params), params)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_exact_weights_keep_float32_in_files_and_when_they_are_read(dtype, make, tmp_path):
    params = make(DEEPSEEK)
    huggingface.save_params(tmp_path, DEEPSEEK, params, dtype)
    read = huggingface.load_params(tmp_path, DEEPSEEK, places(DEEPSEEK), "bfloat16")
    check_exact(read, params)
    jax.tree.map(np.testing.assert_array_equal, read, weights.cast(params, jnp.bfloat16))


@pytest.mark.parametrize("config", [DEEPSEEK, PHI], ids=["experts", "joined tensors"])
def test_what_is_written_is_fetched_once_and_a_layer_at_a_time(config, make, tmp_path, monkeypatch):
    """Experts by themselves would be tens of thousands of dispatches; a whole stack would not fit beside the files.

    In several files, too, which may begin amid a layer's experts.
    """
    fetched = []
    fetch = hosts.fetch

    def counted(x):
        fetched.append(hashlib.sha256(np.asarray(x).tobytes()).hexdigest())
        return fetch(x)

    monkeypatch.setattr(hosts, "fetch", counted)
    monkeypatch.setattr(huggingface, "MAX_FILE_BYTES", 3500)
    params = make(config)
    huggingface.save_params(tmp_path, config, params, "float32")
    assert len(list(tmp_path.glob("*.safetensors"))) > 6
    stacks = dict(config.stacks)
    layers = [
        layer
        for path in weights.table(config)
        for layer in (params[path[0]][path[1]] if path[0] in stacks else [params[path[0]]])
    ]
    assert Counter(fetched) == Counter(hashlib.sha256(np.asarray(x).tobytes()).hexdigest() for x in layers)
    read = huggingface.load_params(tmp_path, config, places(config))
    jax.tree.map(np.testing.assert_array_equal, read, params)
