"""Decoding with a cache in two parts: the prompt's, shared by all samples of a question, and each sample's own.

The samples of a group attend to one copy of their prompt's keys and values, so a group of 64 needs the memory and
the computation of one prompt. Layers are not scanned here: a cache that is carried layer by layer is updated in
place, one that is stacked would be copied for every token.
"""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import jax
import jax.numpy as jnp
from flax import struct

from rl_reason.models import decoder, lora, weights
from rl_reason.models.attention import attend_to_cache
from rl_reason.models.config import ModelConfig
from rl_reason.models.decoder import Constrain
from rl_reason.models.weights import Params


@struct.dataclass
class PromptCache:
    """Keys [Q, K, E, P] and values [Q, K, P, F] of left-padded prompts (`ModelConfig.cached`), one of each a layer."""

    keys: tuple[jax.Array, ...]
    values: tuple[jax.Array, ...]
    mask_QP: jax.Array
    """True where a token stands."""


@struct.dataclass
class CompletionCache:
    """Keys [B, K, E, T] and values [B, K, T, F] of the completions, one of each a layer; position t is written at step
    t. T grows with the completions."""

    keys: tuple[jax.Array, ...]
    values: tuple[jax.Array, ...]


def to_decoding(params: Params, config: ModelConfig, constrain: Constrain) -> Params:
    """The weights as decoding reads them, where `constrain` puts them: `layers` as a tuple of trees, bottom first,
    linear layers transposed.

    Layers are taken apart before they are moved: gathered as a stack, all of them would exist twice.
    """
    table = weights.table(config) | (lora.table(config) if config.lora else {})

    def one(stack: str, name: str, stacked: jax.Array, index: int) -> jax.Array | decoder.Transposed:
        row = table[stack, name]
        weight = constrain(stacked[index], row.axes[1:])
        if not row.inputs or "experts" in row.axes or name in weights.NO_PROJECTIONS:
            return weight
        return decoder.Transposed.of(weight, row.inputs)

    layers = tuple(
        {name: one(stack, name, weight, i) for name, weight in params[stack].items()}
        for stack, numbers in config.stacks
        for i in range(len(numbers))
    )
    stacks = {stack for stack, _ in config.stacks}
    others = {name: constrain(x, table[(name,)].axes) for name, x in params.items() if name not in stacks}
    return others | {"layers": layers}


def prefill(
    params: Params, tokens_QP: jax.Array, mask_QP: jax.Array, length: int, config: ModelConfig, constrain: Constrain
) -> tuple[jax.Array, PromptCache]:
    """Runs the prompts: the final hidden state [Q, D] of each one's last token, and their cache.

    Args:
        params: in the compute dtype, as they are.
        tokens_QP: int32, padded on the left.
        mask_QP: bool, True where a token stands.
        length: tokens of a completion that may follow.
        config: the model.
        constrain: see `decoder`.
    """
    segments_QP, total = mask_QP.astype(jnp.int32), tokens_QP.shape[1] + length
    hidden_QPD, layers = decoder.prefill(params, tokens_QP, segments_QP, config, constrain, total)
    keys = tuple(jnp.transpose(k, (0, 2, 3, 1)) for k, _ in layers)
    values = tuple(jnp.swapaxes(v, 1, 2) for _, v in layers)
    return hidden_QPD[:, -1], PromptCache(keys, values, mask_QP)


def empty_completions(
    batch: int, length: int, config: ModelConfig, dtype: jnp.dtype, constrain: Constrain
) -> CompletionCache:
    heads, key_width, value_width = config.cached
    layers = range(config.num_layers)
    cache = CompletionCache(
        tuple(jnp.zeros((batch, heads, key_width, length), dtype) for _ in layers),
        tuple(jnp.zeros((batch, heads, length, value_width), dtype) for _ in layers),
    )
    return place(cache, constrain)


Cache = TypeVar("Cache", PromptCache, CompletionCache)


def place(cache: Cache, constrain: Constrain) -> Cache:
    """The cache on the mesh."""
    return dataclasses.replace(
        cache,
        keys=tuple(constrain(x, ("batch", "kv_heads", None, "keys")) for x in cache.keys),
        values=tuple(constrain(x, ("batch", "kv_heads", "keys", None)) for x in cache.values),
    )


def grow(cache: CompletionCache, length: int) -> CompletionCache:
    """The same with room for `length` tokens."""
    more = length - cache.keys[0].shape[3]
    return CompletionCache(
        tuple(jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, more))) for x in cache.keys),
        tuple(jnp.pad(x, ((0, 0), (0, 0), (0, more), (0, 0))) for x in cache.values),
    )


def take(prompts: PromptCache, cache: CompletionCache, rows: jax.Array) -> tuple[PromptCache, CompletionCache]:
    """Some of the samples, int32 [B'], each with its prompt to itself."""
    questions = rows // (cache.keys[0].shape[0] // prompts.mask_QP.shape[0])
    return jax.tree.map(lambda x: x[questions], prompts), jax.tree.map(lambda x: x[rows], cache)


def decode_step(
    params: Params,
    tokens_B: jax.Array,
    step: jax.Array,
    prompts: PromptCache,
    cache: CompletionCache,
    length: int,
    config: ModelConfig,
    constrain: Constrain,
) -> tuple[jax.Array, CompletionCache]:
    """Runs completion token `step` of every sample: final hidden states [B, D] and the cache with that token.

    Samples stand by question: row q · G + g is sample g of question q. `length` is that of `prefill`.
    """
    Q, P = prompts.mask_QP.shape
    T = cache.keys[0].shape[3]
    positions_B = jnp.repeat(jnp.sum(prompts.mask_QP, axis=1), tokens_B.shape[0] // Q) + step
    angles = decoder.all_angles(positions_B[:, None], P + length, config)
    # How far back of the new token a key stands: its own at T' = 0 … step, the prompt's last token at step + 1.
    own_distance_T = step - jnp.arange(T)
    prompt_distance_P = step + P - jnp.arange(P)
    scale, softcap = decoder.score_scale(config), config.attention_softcap
    x = decoder.embed(params, tokens_B[:, None], config, constrain)
    keys, values = list(cache.keys), list(cache.values)
    for i, (layer, rope, window) in enumerate(
        zip(params["layers"], config.layer_ropes, config.layer_windows, strict=True)
    ):
        q, k, v = decoder.queries_keys_values(layer, x, angles[rope], config, constrain)
        keys[i] = jax.lax.dynamic_update_slice_in_dim(keys[i], jnp.transpose(k, (0, 2, 3, 1)), step, axis=3)
        values[i] = jax.lax.dynamic_update_slice_in_dim(values[i], jnp.swapaxes(v, 1, 2), step, axis=2)
        seen_T, seen_QP = own_distance_T >= 0, prompts.mask_QP
        if window:
            seen_T = seen_T & (own_distance_T < window)
            seen_QP = seen_QP & (prompt_distance_P < window)[None]
        prompt, own = (prompts.keys[i], prompts.values[i], seen_QP), (keys[i], values[i], seen_T)
        x, _ = decoder.close_block(layer, x, attend_to_cache(q, prompt, own, scale, softcap), config, constrain)
    hidden = decoder.rms_norm(x, params["final_norm"], config.rms_norm_eps, config.norm_offset)
    return hidden[:, 0], CompletionCache(tuple(keys), tuple(values))
