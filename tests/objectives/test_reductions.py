import jax.numpy as jnp
import numpy as np
import pytest

from rl_reason.objectives.reductions import token_weights
from rl_reason.objectives.surrogates import clipped, is_clipped, log_ratio

MASK = np.array([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]], np.float32)


def test_constant_losses():
    """The mean of a constant is the constant; Dr. GRPO's is the share of the limit that is used."""
    for kind, expected in (("sequence_mean", 1.0), ("token_mean", 1.0), ("length_normalized", 8 / (3 * 5))):
        weights, denominator = token_weights(jnp.asarray(MASK), kind, 5)
        assert float(jnp.sum(weights) / denominator) == pytest.approx(expected)
        assert not np.asarray(weights)[MASK == 0].any()


def test_completions_without_tokens_do_not_count():
    mask = np.concatenate([MASK, np.zeros((2, 4), np.float32)])
    for kind in ("sequence_mean", "token_mean", "length_normalized"):
        weights, denominator = token_weights(jnp.asarray(mask), kind, 5)
        expected, expected_denominator = token_weights(jnp.asarray(MASK), kind, 5)
        np.testing.assert_array_equal(weights[:3], expected)
        assert not np.asarray(weights[3:]).any() and float(denominator) == float(expected_denominator)


def test_ratio_levels():
    difference = np.array([[0.1, -0.2, 0.4, 9.0], [0.3, 9.0, 9.0, 9.0], [0.1, 0.1, 0.1, 0.1]], np.float32)
    arrays = [jnp.asarray(x) for x in (difference, np.zeros((3, 4)), MASK)]
    make = lambda level: np.asarray(log_ratio(*arrays, jnp.asarray(MASK, jnp.int32), level)) * MASK  # noqa: E731
    np.testing.assert_allclose(make("token"), difference * MASK, rtol=1e-6)
    np.testing.assert_allclose(make("sequence"), np.array([[0.3], [0.3], [0.4]]) * MASK, rtol=1e-5)
    np.testing.assert_allclose(make("sequence_mean"), np.array([[0.1], [0.3], [0.1]]) * MASK, rtol=1e-5)
    # Completions that share a row keep to themselves.
    segments = jnp.asarray([[1, 1, 1, 2]] * 3)
    arrays[2] = jnp.ones((3, 4))
    np.testing.assert_allclose(make_shared(arrays, segments, "sequence")[0], [0.3, 0.3, 0.3, 9.0], rtol=1e-5)
    np.testing.assert_allclose(make_shared(arrays, segments, "sequence_mean")[0], [0.1, 0.1, 0.1, 9.0], rtol=1e-5)


def make_shared(arrays, segments, level):
    return np.asarray(log_ratio(*arrays, segments, level))


@pytest.mark.parametrize(
    ("ratio", "advantage", "value", "cut"),
    [
        (1.1, 2.0, 2.2, False),
        (1.5, 2.0, 2.6, True),  # no more credit beyond 1 + ε_high
        (1.5, -2.0, -3.0, False),  # but all the blame
        (0.5, 2.0, 1.0, False),
        (0.5, -2.0, -1.6, True),
        (0.9, -2.0, -1.8, False),
    ],
)
def test_clipping(ratio, advantage, value, cut):
    ratio, advantage = jnp.asarray(ratio), jnp.asarray(advantage)
    assert float(clipped(ratio, advantage, 0.2, 0.3)) == pytest.approx(value, rel=1e-6)
    assert bool(is_clipped(ratio, advantage, 0.2, 0.3)) is cut
