"""The table of weights: name, shape, logical axes, initializer.

From this one table come initialization, shardings, the abstract tree for checkpoints and for compiling
ahead of time, and (in `huggingface.py`) the mapping to files. Weights of a layer are stacked along a
leading `layers` axis, so that training scans over them. Master weights are float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from rl_reason.models.config import ModelConfig

Params = dict
"""A tree of arrays: {"embed", "layers": {name: [L, ...]}, "final_norm", "head" if untied}."""


@dataclass(frozen=True)
class Weight:
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    """Logical axes, one a dimension; `parallel.mesh.Rules` maps them to mesh axes."""
    init: str = "normal"
    """"normal" (std = initializer_range), "residual" (that / √(2·layers), GPT-2's scaling), "ones" or "zeros"."""

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def table(config: ModelConfig) -> dict[tuple[str, ...], Weight]:
    """All weights of a model by their path in the tree, in a fixed order."""
    L, D, F, V = config.num_layers, config.hidden_size, config.intermediate_size, config.vocab_size
    H, K, E = config.num_heads, config.num_kv_heads, config.head_dim
    layer = {
        "attention_norm": Weight((L, D), ("layers", "embed_norm"), "ones"),
        "query": Weight((L, D, H, E), ("layers", "embed", "heads", "head_dim")),
        "key": Weight((L, D, K, E), ("layers", "embed", "kv_heads", "head_dim")),
        "value": Weight((L, D, K, E), ("layers", "embed", "kv_heads", "head_dim")),
        "output": Weight((L, H, E, D), ("layers", "heads", "head_dim", "embed"), "residual"),
        "mlp_norm": Weight((L, D), ("layers", "embed_norm"), "ones"),
        "gate": Weight((L, D, F), ("layers", "embed", "mlp")),
        "up": Weight((L, D, F), ("layers", "embed", "mlp")),
        "down": Weight((L, F, D), ("layers", "mlp", "embed"), "residual"),
    }
    if config.qkv_bias:
        layer["query_bias"] = Weight((L, H, E), ("layers", "heads", "head_dim"), "zeros")
        layer["key_bias"] = Weight((L, K, E), ("layers", "kv_heads", "head_dim"), "zeros")
        layer["value_bias"] = Weight((L, K, E), ("layers", "kv_heads", "head_dim"), "zeros")
    if config.qk_norm:
        layer["query_norm"] = Weight((L, E), ("layers", "head_dim"), "ones")
        layer["key_norm"] = Weight((L, E), ("layers", "head_dim"), "ones")
    weights: dict[tuple[str, ...], Weight] = {("embed",): Weight((V, D), ("vocab", "embed"))}
    weights |= {("layers", name): weight for name, weight in layer.items()}
    weights[("final_norm",)] = Weight((D,), ("embed_norm",), "ones")
    if not config.tie_embeddings:
        weights[("head",)] = Weight((V, D), ("vocab", "embed"))
    return weights


def count(config: ModelConfig) -> int:
    """Number of parameters."""
    return sum(weight.size for weight in table(config).values())


def tree(leaves: Mapping[tuple[str, ...], object]) -> Params:
    """Nests {path: leaf} into the tree that the decoder reads."""
    nested: Params = {}
    for path, leaf in leaves.items():
        node = nested
        for name in path[:-1]:
            node = node.setdefault(name, {})
        node[path[-1]] = leaf
    return nested


def initialize(config: ModelConfig, key: jax.Array) -> Params:
    """Random float32 weights. Jit it with `out_shardings` to make them in place on a mesh."""

    def make(index: int, weight: Weight) -> jax.Array:
        if weight.init in ("ones", "zeros"):
            return jnp.full(weight.shape, float(weight.init == "ones"), jnp.float32)
        std = config.initializer_range
        if weight.init == "residual":
            std /= math.sqrt(2 * config.num_layers)
        return std * jax.random.normal(jax.random.fold_in(key, index), weight.shape, jnp.float32)

    return tree({path: make(index, weight) for index, (path, weight) in enumerate(table(config).items())})


def cast(params: Params, dtype: jnp.dtype) -> Params:
    """The weights in the compute dtype."""
    return jax.tree.map(lambda x: x.astype(dtype), params)
