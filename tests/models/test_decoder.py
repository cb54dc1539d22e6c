"""Whole sequences: segments, causality, precision."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_reason.errors import UsageError
from rl_reason.models import decoder, weights
from rl_reason.models.families import from_shape

SHAPE = {
    "model_type": "qwen3",
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 6,
    "initializer_range": 0.3,
    "tie_word_embeddings": True,
}
CONFIG = from_shape(SHAPE, vocab_size=29)


@pytest.fixture(scope="module")
def run():
    params = jax.jit(lambda key: weights.initialize(CONFIG, key))(jax.random.key(0))
    return jax.jit(lambda tokens, segments: decoder.forward(params, tokens, segments, CONFIG)[0])


def test_positions():
    segments = jnp.asarray([[0, 0, 1, 1, 1], [1, 1, 2, 3, 3], [1, 1, 1, 0, 0], [2, 2, 2, 2, 2]])
    positions = np.asarray(decoder.positions_of(segments))
    inside = [row[keep].tolist() for row, keep in zip(positions, np.asarray(segments) > 0, strict=True)]
    assert inside == [[0, 1, 2], [0, 1, 0, 0, 1], [0, 1, 2], [0, 1, 2, 3, 4]]


def test_a_segment_is_a_sequence_of_its_own(run):
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, 29, n) for n in (4, 3, 5)]
    tokens, segments = np.zeros((4, 14), np.int32), np.zeros((4, 14), np.int32)
    tokens[0, 1:13], segments[0, 1:13] = np.concatenate(texts), np.repeat([1, 2, 3], (4, 3, 5))
    for row, text in enumerate(texts, 1):
        tokens[row, : len(text)], segments[row, : len(text)] = text, 1
    hidden = np.asarray(run(tokens, segments))
    alone = np.concatenate([hidden[row, : len(text)] for row, text in enumerate(texts, 1)])
    np.testing.assert_allclose(hidden[0, 1:13], alone, atol=1e-5)
    assert np.isfinite(hidden).all()  # padding, too: nothing there may turn a gradient into NaN


def test_no_token_sees_a_later_one(run):
    tokens = np.random.default_rng(1).integers(0, 29, (1, 14)).repeat(4, axis=0).astype(np.int32)
    tokens[1, 9] = (tokens[1, 9] + 1) % 29
    hidden = np.asarray(run(tokens, np.ones_like(tokens)))
    np.testing.assert_array_equal(hidden[1, :9], hidden[0, :9])
    assert (np.abs(hidden[1, 9:] - hidden[0, 9:]).max(axis=-1) > 1e-4).all()


def test_bfloat16_stays_close_and_stays_bfloat16():
    params = jax.jit(lambda key: weights.initialize(CONFIG, key))(jax.random.key(0))
    tokens = np.random.default_rng(2).integers(0, 29, (3, 10)).astype(np.int32)
    forward = jax.jit(lambda params: decoder.forward(params, tokens, np.ones_like(tokens), CONFIG)[0])
    full, half = forward(params), forward(weights.cast(params, jnp.bfloat16))
    assert half.dtype == jnp.bfloat16 and full.dtype == jnp.float32
    assert np.abs(np.asarray(half, np.float32) - np.asarray(full)).mean() < 0.05
    assert decoder.logits(weights.cast(params, jnp.bfloat16), half, CONFIG).dtype == jnp.float32


def test_initial_weights():
    config = dataclasses.replace(CONFIG, hidden_size=64, intermediate_size=128, initializer_range=0.02)
    config = dataclasses.replace(config, qkv_bias=True, tie_embeddings=False)
    made = jax.jit(lambda key: weights.initialize(config, key))(jax.random.key(1))
    layers = made["layers"]
    for name in ("query", "gate", "up"):
        assert float(jnp.std(layers[name])) == pytest.approx(0.02, rel=0.1)
    for name in ("output", "down"):  # GPT-2: smaller by the root of the number of residual branches
        assert float(jnp.std(layers[name])) == pytest.approx(0.02 / np.sqrt(4), rel=0.1)
    assert (layers["query_norm"] == 1).all() and (made["final_norm"] == 1).all() and not layers["key_bias"].any()
    assert not np.allclose(layers["gate"], layers["up"]) and not np.allclose(made["head"], made["embed"])
    assert not np.allclose(layers["gate"][0], layers["gate"][1])
    assert sum(weight.size for weight in weights.table(config).values()) == sum(x.size for x in jax.tree.leaves(made))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(made))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_key_value_heads": 3}, "num_key_value_heads=3.*divisor of num_attention_heads=4"),
        ({"head_dim": 5}, "even.*head_dim`=5"),
        ({"num_hidden_layers": 0}, "num_layers=0.*positive"),
        ({"hidden_size": 16.5}, "config.model.shape.*hidden_size"),
        ({"model_type": "quen3"}, "model_type='quen3'.*known: .*qwen3"),
        ({"hidden_sise": 16}, "config.model.shape.hidden_sise.*did you mean 'hidden_size'"),
    ],
)
def test_shapes_that_cannot_be(changes, words):
    with pytest.raises(UsageError, match=words):
        from_shape(SHAPE | changes, vocab_size=29)


def test_a_shape_that_lacks_a_key():
    shape = {key: value for key, value in SHAPE.items() if key != "num_hidden_layers"}
    with pytest.raises(UsageError, match="config.model.shape.*num_hidden_layers"):
        from_shape(shape, vocab_size=29)
