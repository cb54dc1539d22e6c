"""Attention: of whole sequences, and of one new token over a cache in two parts."""

from __future__ import annotations

import jax
import jax.numpy as jnp

LARGE_NEGATIVE = -2.0e38


def cap(x: jax.Array, limit: float) -> jax.Array:
    """limit · tanh(x / limit): almost x where it is small, never beyond the limit; 0: x."""
    return limit * jnp.tanh(x / limit) if limit else x


def attend(
    q_BTHE: jax.Array, k_BSKE: jax.Array, v_BSKF: jax.Array, mask_BTS: jax.Array, scale: float, softcap: float = 0.0
) -> jax.Array:
    """softmax(cap(q·k · scale)) · v in float32, H / K query heads to a key/value head. [B, T, H, F].

    Args:
        q_BTHE: queries.
        k_BSKE: keys.
        v_BSKF: values, whose width may differ from that of the keys.
        mask_BTS: bool, what may be seen. A row that sees nothing gets the mean of the values.
        scale: of the scores.
        softcap: see `cap`.
    """
    B, T, H, E = q_BTHE.shape
    K = k_BSKE.shape[2]
    q = q_BTHE.reshape(B, T, K, H // K, E)
    scores = jnp.einsum("btkre,bske->bkrts", q, k_BSKE, preferred_element_type=jnp.float32) * scale
    scores = jnp.where(mask_BTS[:, None, None], cap(scores, softcap), LARGE_NEGATIVE)
    weights = jax.nn.softmax(scores, axis=-1).astype(v_BSKF.dtype)
    return jnp.einsum("bkrts,bskf->btkrf", weights, v_BSKF).reshape(B, T, H, -1)


def attend_to_cache(
    q_B1HE: jax.Array,
    prompt: tuple[jax.Array, jax.Array, jax.Array],
    own: tuple[jax.Array, jax.Array, jax.Array],
    scale: float,
    softcap: float = 0.0,
) -> jax.Array:
    """One query a sample over its prompt's keys and its own, under one softmax in float32. [B, 1, H, F].

    Args:
        q_B1HE: queries; row q · G + g is sample g of question q.
        prompt: keys [Q, K, P, E] and values [Q, K, P, F] of each question, bool mask [Q, P].
        own: keys [B, K, T, E] and values [B, K, T, F] of each sample, bool mask [T].
        scale: of the scores.
        softcap: see `cap`.
    """
    B, _, H, E = q_B1HE.shape
    prompt_keys, prompt_values, mask_QP = prompt
    keys, values, mask_T = own
    Q, K = prompt_keys.shape[:2]
    # Query heads of one key/value head, and on the prompt's side all samples of a group, share one product.
    grouped = q_B1HE.reshape(B, K, H // K, E)
    by_question = jnp.swapaxes(grouped.reshape(Q, B // Q, K, H // K, E), 1, 2)  # [Q, K, G, R, E]
    f32 = jnp.float32
    on_prompt = jnp.einsum("qkgre,qkpe->qkgrp", by_question, prompt_keys, preferred_element_type=f32) * scale
    on_prompt = jnp.where(mask_QP[:, None, None, None, :], cap(on_prompt, softcap), LARGE_NEGATIVE)
    on_own = jnp.einsum("bkre,bkte->bkrt", grouped, keys, preferred_element_type=f32) * scale
    on_own = jnp.where(mask_T[None, None, None, :], cap(on_own, softcap), LARGE_NEGATIVE)

    # One softmax over two sets of keys: shift by the common maximum, divide by the common sum.
    to_question = lambda x: jnp.swapaxes(x.reshape(Q, B // Q, K, H // K, -1), 1, 2)  # noqa: E731
    to_batch = lambda x: jnp.swapaxes(x, 1, 2).reshape(B, K, H // K, -1)  # noqa: E731
    highest = jnp.maximum(to_batch(jnp.max(on_prompt, -1, keepdims=True)), jnp.max(on_own, -1, keepdims=True))
    prompt_weights = jnp.exp(on_prompt - to_question(highest))
    own_weights = jnp.exp(on_own - highest)
    total = to_batch(jnp.sum(prompt_weights, -1, keepdims=True)) + jnp.sum(own_weights, -1, keepdims=True)
    dtype = prompt_values.dtype
    from_prompt = jnp.einsum(
        "qkgrp,qkpf->qkgrf", prompt_weights.astype(dtype), prompt_values, preferred_element_type=f32
    )
    from_own = jnp.einsum("bkrt,bktf->bkrf", own_weights.astype(dtype), values, preferred_element_type=f32)
    return ((to_batch(from_prompt) + from_own) / total).astype(q_B1HE.dtype).reshape(B, 1, H, -1)
