"""From logits to the distribution that a token is drawn from: temperature, top-k, top-p, min-p."""

from __future__ import annotations

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
        ordered = jnp.sort(logits_BV, axis=-1, descending=True)
        before = jnp.cumsum(jax.nn.softmax(ordered, axis=-1), axis=-1) - jax.nn.softmax(ordered, axis=-1)
        # The last token whose predecessors have less than top_p together is the least probable that stays.
        kept = jnp.sum(before < top_p, axis=-1, keepdims=True)
        lowest = jnp.take_along_axis(ordered, kept - 1, axis=-1)
        logits_BV = jnp.where(logits_BV < lowest, cut, logits_BV)
    if min_p > 0:
        highest = jnp.max(logits_BV, axis=-1, keepdims=True)
        logits_BV = jnp.where(logits_BV < highest + jnp.log(min_p), cut, logits_BV)
    return logits_BV
