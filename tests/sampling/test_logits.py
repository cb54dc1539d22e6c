"""Which tokens may be drawn, against a plain numpy reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_reason.errors import UsageError
from rl_reason.sampling.logits import check, draw, truncate


def kept(logits, top_k=0, top_p=1.0, min_p=0.0):
    """The tokens that stay, one filter after the other, most probable first."""
    order = sorted(range(len(logits)), key=lambda v: -logits[v])
    if top_k:
        order = order[:top_k]
    if top_p < 1:
        mass = np.exp(logits[order]) / np.exp(logits[order]).sum()
        stay, total = [], 0.0
        for v, p in zip(order, mass, strict=True):
            if total >= top_p:
                break
            stay.append(v)
            total += p
        order = stay
    if min_p:
        order = [v for v in order if np.exp(logits[v] - logits[order[0]]) >= min_p]
    return set(order)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top_k": 1},
        {"top_k": 5},
        {"top_k": 40},
        {"top_p": 0.9},
        {"top_p": 0.3},
        {"top_p": 1e-6},
        {"min_p": 0.1},
        {"min_p": 0.99},
        {"top_k": 8, "top_p": 0.8},
        {"top_k": 12, "top_p": 0.95, "min_p": 0.05},
    ],
    ids=str,
)
def test_support(options):
    logits = np.random.default_rng(0).normal(0, 2, (50, 23)).astype(np.float32)
    made = np.asarray(truncate(jnp.asarray(logits), **{"top_k": 0, "top_p": 1.0, "min_p": 0.0} | options))
    for row, cut in zip(logits, made, strict=True):
        assert set(np.flatnonzero(np.isfinite(cut))) == kept(row.astype(np.float64), **options)
        np.testing.assert_array_equal(cut[np.isfinite(cut)], row[np.isfinite(cut)])


def test_the_most_probable_token_always_stays():
    logits = jnp.asarray([[80.0, 0.0, -80.0], [0.0, 0.0, 0.0]])
    for options in ((1, 1.0, 0.0), (0, 1e-9, 0.0), (0, 1.0, 0.999)):
        made = np.asarray(truncate(logits, *options))
        assert np.isfinite(made[0, 0]) and np.isfinite(made).any(axis=1).all()


@pytest.mark.parametrize("size", [1, 5, 23, 64, 300, 4096])
def test_tokens_are_drawn_with_their_probabilities(size):
    """By a chi-squared test, of vocabularies that are split evenly or not; what has no probability never comes."""
    rng = np.random.default_rng(size)
    logits = rng.normal(0, 2, size).astype(np.float32)
    if size > 4:
        logits[rng.permutation(size)[: size // 3]] = -np.inf
        logits[-1] = -np.inf
    count = 20_000
    draws = jax.jit(jax.vmap(lambda key: draw(jnp.asarray(logits)[None], key[None])[0]))
    made = np.asarray(draws(jax.random.split(jax.random.key(1), count)))
    assert made.dtype == np.int32
    expected = count * np.exp(logits.astype(np.float64)) / np.exp(logits.astype(np.float64)).sum()
    seen = np.bincount(made, minlength=size)
    assert len(seen) == size and not seen[expected == 0].any()
    often = expected > 10
    others = ~often & (expected > 0)
    observed, wanted = ([*x[often], x[others].sum()] for x in (seen, expected))
    if wanted[-1] < 10:
        observed, wanted = observed[:-1], wanted[:-1]
    statistic = float(np.sum((np.array(observed) - wanted) ** 2 / np.array(wanted)))
    degrees = len(wanted) - 1
    assert statistic < degrees + 5 * np.sqrt(2 * degrees) + 1


def test_a_draw_depends_on_its_own_row_and_key_only():
    logits = jax.random.normal(jax.random.key(0), (6, 64))
    keys = jax.random.split(jax.random.key(1), 6)
    whole = draw(logits, keys)
    for row in range(6):
        assert draw(logits[row : row + 1], keys[row : row + 1])[0] == whole[row]
    assert len(set(draw(jnp.tile(logits[:1], (6, 1)), keys).tolist())) > 1


@pytest.mark.parametrize(("size", "place"), [(64, 0), (64, 63), (23, 22)])
def test_one_token_that_is_left_is_drawn(size, place):
    logits = jnp.full((50, size), -jnp.inf).at[:, place].set(3.0)
    assert (draw(logits, jax.random.split(jax.random.key(0), 50)) == place).all()


def test_it_traces():
    jitted = jax.jit(lambda x: truncate(x, 3, 0.9, 0.01))
    logits = jax.random.normal(jax.random.key(0), (4, 9))
    np.testing.assert_array_equal(jitted(logits), truncate(logits, 3, 0.9, 0.01))


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ((-0.1, 0, 1.0, 0.0), "temperature"),
        ((float("nan"), 0, 1.0, 0.0), "temperature"),
        ((1.0, -1, 1.0, 0.0), "top_k"),
        ((1.0, 0, 0.0, 0.0), "top_p"),
        ((1.0, 0, 1.1, 0.0), "top_p"),
        ((1.0, 0, 1.0, 1.0), "min_p"),
        ((1.0, 0, 1.0, -0.1), "min_p"),
    ],
)
def test_values_out_of_range(values, name):
    check(1.0, 0, 1.0, 0.0, "config.sampling.")
    check(0.0, 5, 0.1, 0.5, "config.sampling.")
    with pytest.raises(UsageError, match=rf"^config\.sampling\.{name}="):
        check(*values, "config.sampling.")
