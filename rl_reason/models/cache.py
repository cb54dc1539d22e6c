"""Decoding with a cache in two parts: the prompt's, shared by all samples of a question, and each sample's own.

The samples of a group attend to one copy of their prompt's keys and values, so a group of 64 needs the memory and
the computation of one prompt. Layers are not scanned here: a cache that is carried layer by layer is updated in
place, one that is stacked would be copied for every token.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from rl_reason.models import decoder
from rl_reason.models.config import ModelConfig
from rl_reason.models.decoder import Constrain
from rl_reason.models.weights import Params

LARGE_NEGATIVE = -2.0e38


@struct.dataclass
class PromptCache:
    """Keys and values of left-padded prompts, one [Q, K, P, E] a layer."""

    keys: tuple[jax.Array, ...]
    values: tuple[jax.Array, ...]
    mask_QP: jax.Array
    """True where a token stands."""


@struct.dataclass
class CompletionCache:
    """Keys and values of the completions, one [B, K, T, E] a layer; position t is written at step t."""

    keys: tuple[jax.Array, ...]
    values: tuple[jax.Array, ...]


def unstack(params: Params) -> Params:
    """The weights with `layers` as a tuple of trees."""
    count = jax.tree.leaves(params["layers"])[0].shape[0]
    return {**params, "layers": tuple(jax.tree.map(lambda w, i=i: w[i], params["layers"]) for i in range(count))}


def prefill(
    params: Params, tokens_QP: jax.Array, mask_QP: jax.Array, config: ModelConfig, constrain: Constrain
) -> tuple[jax.Array, PromptCache]:
    """Runs the prompts: the final hidden state [Q, D] of each one's last token, and their cache.

    Args:
        params: from `unstack`, in the compute dtype.
        tokens_QP: int32, padded on the left.
        mask_QP: bool, True where a token stands.
        config: the model.
        constrain: see `decoder`.
    """
    segments = mask_QP.astype(jnp.int32)
    angles = decoder.rotary_angles(decoder.positions_of(segments), config)
    causal_PP = jnp.tril(jnp.ones((tokens_QP.shape[1],) * 2, bool))
    mask = (causal_PP[None] & mask_QP[:, None, :] & mask_QP[:, :, None])[:, None]
    x = decoder.embed(params, tokens_QP, constrain)
    keys, values = [], []
    for layer in params["layers"]:
        q, k, v = decoder.queries_keys_values(layer, x, angles, config, constrain)
        x = decoder.close_block(layer, x, jax.nn.dot_product_attention(q, k, v, mask=mask), config, constrain)
        keys.append(jnp.swapaxes(k, 1, 2))
        values.append(jnp.swapaxes(v, 1, 2))
    last = decoder.rms_norm(x[:, -1:], params["final_norm"], config.rms_norm_eps)
    return last[:, 0], PromptCache(tuple(keys), tuple(values), mask_QP)


def empty_completions(
    batch: int, length: int, config: ModelConfig, dtype: jnp.dtype, constrain: Constrain
) -> CompletionCache:
    shape = (batch, config.num_kv_heads, length, config.head_dim)
    make = lambda: constrain(jnp.zeros(shape, dtype), ("batch", "kv_heads", "time", None))  # noqa: E731
    layers = range(config.num_layers)
    return CompletionCache(tuple(make() for _ in layers), tuple(make() for _ in layers))


def _attend(
    q_B1HE: jax.Array,
    prompt: tuple[jax.Array, jax.Array, jax.Array],
    own: tuple[jax.Array, jax.Array],
    step: jax.Array,
) -> jax.Array:
    """One query a sample over its prompt's and its own keys; softmax over both in float32. [B, 1, H, E]."""
    B, _, H, E = q_B1HE.shape
    prompt_keys, prompt_values, mask_QP = prompt
    keys, values = own
    Q, K = prompt_keys.shape[:2]
    # Query heads of one key/value head, and on the prompt's side all samples of a group, share one product.
    grouped = q_B1HE.reshape(B, K, H // K, E)
    by_question = jnp.swapaxes(grouped.reshape(Q, B // Q, K, H // K, E), 1, 2)  # [Q, K, G, R, E]
    f32 = jnp.float32
    scale = E**-0.5
    on_prompt = jnp.einsum("qkgre,qkpe->qkgrp", by_question, prompt_keys, preferred_element_type=f32) * scale
    on_prompt = jnp.where(mask_QP[:, None, None, None, :], on_prompt, LARGE_NEGATIVE)
    on_own = jnp.einsum("bkre,bkte->bkrt", grouped, keys, preferred_element_type=f32) * scale
    on_own = jnp.where(jnp.arange(keys.shape[2])[None, None, None, :] <= step, on_own, LARGE_NEGATIVE)

    # One softmax over two sets of keys: shift by the common maximum, divide by the common sum.
    to_question = lambda x: jnp.swapaxes(x.reshape(Q, B // Q, K, H // K, -1), 1, 2)  # noqa: E731
    to_batch = lambda x: jnp.swapaxes(x, 1, 2).reshape(B, K, H // K, -1)  # noqa: E731
    highest = jnp.maximum(to_batch(jnp.max(on_prompt, -1, keepdims=True)), jnp.max(on_own, -1, keepdims=True))
    prompt_weights = jnp.exp(on_prompt - to_question(highest))
    own_weights = jnp.exp(on_own - highest)
    total = to_batch(jnp.sum(prompt_weights, -1, keepdims=True)) + jnp.sum(own_weights, -1, keepdims=True)
    dtype = prompt_values.dtype
    from_prompt = jnp.einsum(
        "qkgrp,qkpe->qkgre", prompt_weights.astype(dtype), prompt_values, preferred_element_type=f32
    )
    from_own = jnp.einsum("bkrt,bkte->bkre", own_weights.astype(dtype), values, preferred_element_type=f32)
    return ((to_batch(from_prompt) + from_own) / total).astype(q_B1HE.dtype).reshape(B, 1, H, E)


def decode_step(
    params: Params,
    tokens_B: jax.Array,
    step: jax.Array,
    prompts: PromptCache,
    cache: CompletionCache,
    config: ModelConfig,
    constrain: Constrain,
) -> tuple[jax.Array, CompletionCache]:
    """Runs completion token `step` of every sample: final hidden states [B, D] and the cache with that token.

    Samples stand by question: row q · G + g is sample g of question q.
    """
    group = tokens_B.shape[0] // prompts.mask_QP.shape[0]
    positions_B = jnp.repeat(jnp.sum(prompts.mask_QP, axis=1), group) + step
    angles = decoder.rotary_angles(positions_B[:, None], config)
    x = decoder.embed(params, tokens_B[:, None], constrain)
    keys, values = list(cache.keys), list(cache.values)
    for i, layer in enumerate(params["layers"]):
        q, k, v = decoder.queries_keys_values(layer, x, angles, config, constrain)
        keys[i] = jax.lax.dynamic_update_slice_in_dim(keys[i], jnp.swapaxes(k, 1, 2), step, axis=2)
        values[i] = jax.lax.dynamic_update_slice_in_dim(values[i], jnp.swapaxes(v, 1, 2), step, axis=2)
        attended = _attend(q, (prompts.keys[i], prompts.values[i], prompts.mask_QP), (keys[i], values[i]), step)
        x = decoder.close_block(layer, x, attended, config, constrain)
    hidden = decoder.rms_norm(x, params["final_norm"], config.rms_norm_eps)
    return hidden[:, 0], CompletionCache(tuple(keys), tuple(values))
