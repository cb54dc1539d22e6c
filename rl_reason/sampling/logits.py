"""From logits to a token: what is cut off (top-k, top-p, min-p), and the draw.

Sums over the vocabulary only, no sort and no noise for each token: it may be split over devices.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from rl_reason.errors import UsageError


def check(temperature: float, top_k: int, top_p: float, min_p: float, prefix: str) -> None:
    """Raises `UsageError` for a value outside its range."""
    for name, value, valid, expected in (
        ("temperature", temperature, temperature >= 0, "0 (greedy) or more"),
        ("top_k", top_k, top_k >= 0, "0 (off) or more"),
        ("top_p", top_p, 0 < top_p <= 1, "more than 0, at most 1 (off)"),
        ("min_p", min_p, 0 <= min_p < 1, "0 (off) or more, less than 1"),
    ):
        if not valid:
            raise UsageError(f"{prefix}{name}={value!r}: expected {expected}")


def truncate(logits_BV: jax.Array, top_k: int, top_p: float, min_p: float) -> jax.Array:
    """Sets the logits of tokens that are cut off to −inf. The most probable token always stays.

    Args:
        logits_BV: float32, after temperature.
        top_k: keep the k most probable; 0: all. Ties with the k-th stay.
        top_p: keep the smallest set of most probable tokens with this probability (arXiv 1904.09751); 1: all.
        min_p: keep what is at least this fraction as probable as the most probable (arXiv 2407.01082); 0: all.
    """
    cut = -jnp.inf
    if top_k and top_k < logits_BV.shape[1]:
        kth = jax.lax.top_k(logits_BV, top_k)[0][:, -1:]
        logits_BV = jnp.where(logits_BV < kth, cut, logits_BV)
    if top_p < 1:
        probabilities_BV = jax.nn.softmax(logits_BV, axis=-1)
        logits_BV = jnp.where(probabilities_BV < _least_probable(probabilities_BV, top_p), cut, logits_BV)
    if min_p > 0:
        highest = jnp.max(logits_BV, axis=-1, keepdims=True)
        logits_BV = jnp.where(logits_BV < highest + jnp.log(min_p), cut, logits_BV)
    return logits_BV


def _least_probable(probabilities_BV: jax.Array, mass: float) -> jax.Array:
    """The greatest x such that the probabilities of x or more have this mass together, [B, 1].

    Found by halving the range of float32 between 0 and 1, whose order is that of their bits.
    """
    as_float = lambda bits: jax.lax.bitcast_convert_type(bits, jnp.float32)  # noqa: E731

    def halve(_: int, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        middle = low + (high - low) // 2
        kept = jnp.where(probabilities_BV >= as_float(middle), probabilities_BV, 0)
        is_enough = jnp.sum(kept, axis=-1, keepdims=True) >= mass
        return jnp.where(is_enough, middle, low), jnp.where(is_enough, high, middle)

    zeros = jnp.zeros((len(probabilities_BV), 1), jnp.int32)
    above_one = jax.lax.bitcast_convert_type(jnp.float32(1), jnp.int32) + 1
    low, _ = jax.lax.fori_loop(0, 30, halve, (zeros, zeros + above_one))
    return as_float(low)


def draw(logits_BV: jax.Array, keys_B: jax.Array) -> jax.Array:
    """Tokens with the probabilities softmax(logits), int32 [B].

    In two steps, first the part of the vocabulary, then the token in it, each looked up in a cumulative sum. A row
    needs two random numbers; one for each token of a large vocabulary would take longer than the model's head.

    Args:
        logits_BV: float32, −inf for what must not be drawn.
        keys_B: random keys, a row each.
    """
    B, V = logits_BV.shape
    weights_BV = jnp.exp(logits_BV - jnp.max(logits_BV, axis=-1, keepdims=True))
    parts = math.gcd(V, 1 << math.isqrt(V).bit_length())
    if parts < 16:  # Then it is not split over devices either.
        parts = min(128, V)
        weights_BV = jnp.pad(weights_BV, ((0, 0), (0, -V % parts)))
    weights_BPW = weights_BV.reshape(B, parts, -1)
    uniform_B2 = jax.vmap(lambda key: jax.random.uniform(key, (2,)))(keys_B)
    part_B = _look_up(jnp.sum(weights_BPW, axis=-1), uniform_B2[:, 0])
    # A sum, not an index, so that the part is found on whatever device it lies.
    is_part_BP = part_B[:, None] == jnp.arange(parts)[None]
    weights_BW = jnp.sum(jnp.where(is_part_BP[..., None], weights_BPW, 0), axis=1)
    return part_B * weights_BW.shape[1] + _look_up(weights_BW, uniform_B2[:, 1])


def _look_up(weights_BN: jax.Array, uniform_B: jax.Array) -> jax.Array:
    """Where the cumulative sum of the weights goes beyond this share of the whole, int32 [B]; never at a weight of 0,
    whatever is rounded."""
    sums_BN = jnp.cumsum(weights_BN, axis=-1)
    is_beyond_BN = (sums_BN > uniform_B[:, None] * sums_BN[:, -1:]) & (weights_BN > 0)
    last_B = weights_BN.shape[1] - 1 - jnp.argmax(weights_BN[:, ::-1] > 0, axis=-1)
    first_B = jnp.argmax(is_beyond_BN, axis=-1)
    return jnp.where(jnp.any(is_beyond_BN, axis=-1), first_B, last_B).astype(jnp.int32)
