"""The table of weights: name, shape, logical axes, initializer.

From this one table come initialization, shardings, the abstract tree for checkpoints and for compiling
ahead of time, and (in `huggingface.py`) the mapping to files. Weights of layers that are alike are stacked along a
leading `layers` axis, so that training scans over them. Master weights are float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from rl_reason.models.config import ModelConfig

Params = dict
"""A tree of arrays: {"embed", "layers": {name: [L, ...]}, "final_norm", "head" if untied, "score" where
the model gives scores}, and "dense_layers" where the layers at the bottom have an MLP and those above experts."""

SCORE = ("score",)
"""Path of the layer that gives scores, which a language model's files do not have."""

EXACT = ("router_bias",)
"""Weights that are float32 in every computation and file."""

NO_PROJECTIONS = ("router", "latent_up")
"""Linear layers that are not applied as such: the one chooses, the other is multiplied into queries and values."""


@dataclass(frozen=True)
class Weight:
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    """Logical axes, one a dimension; `parallel.mesh.Rules` maps them to mesh axes."""
    init: str = "normal"
    """"normal" (std = initializer_range), "residual" (that / √(2·layers), GPT-2's scaling), "ones", "zeros", or
    "uniform" between ±1/√inputs, all dimensions between the first and the last being inputs."""
    inputs: int = 0
    """How many leading dimensions of a layer's (and expert's) part are a product's inputs: files hold
    [outputs, inputs]. 0: no linear layer."""

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def table(config: ModelConfig) -> dict[tuple[str, ...], Weight]:
    """All weights of a model by their path in the tree, in a fixed order."""
    D, V = config.hidden_size, config.vocab_size
    norm = "zeros" if config.norm_offset else "ones"
    weights: dict[tuple[str, ...], Weight] = {("embed",): Weight((V, D), ("vocab", "embed"))}
    for name, layers in config.stacks:
        width = Weight((D,), ("embed_norm",), norm)
        # In this order random weights come out as they always did.
        parts = {"attention_norm": width} if config.pre_norm else {}
        parts |= _latent_attention(config) if config.latent else _attention(config)
        parts |= {"mlp_norm": width} if config.pre_norm else {}
        parts |= _experts(config) if config.has_experts(layers[0]) else _mlp(config)
        parts |= _attention_extras(config, norm)
        parts |= {"attention_post_norm": width, "mlp_post_norm": width} if config.post_norm else {}
        for part, weight in parts.items():
            shape, axes = (len(layers), *weight.shape), ("layers", *weight.axes)
            weights[name, part] = Weight(shape, axes, weight.init, weight.inputs)
    weights[("final_norm",)] = Weight((D,), ("embed_norm",), norm)
    if "vocabulary" in config.heads and not config.tie_embeddings:
        weights[("head",)] = Weight((V, D), ("vocab", "embed"))
    if "score" in config.heads:
        # What has not been learned yet is 0 everywhere.
        weights[SCORE] = Weight((1, D), ("scores", "embed_norm"), "zeros")
    return weights


def _heads(config: ModelConfig) -> dict[str, tuple[int, str]]:
    """(number, logical axis) of the heads of queries, keys and values."""
    kv = (config.num_kv_heads, "kv_heads")
    return {"query": (config.num_heads, "heads"), "key": kv, "value": kv}


def _attention(config: ModelConfig) -> dict[str, Weight]:
    D, H, E = config.hidden_size, config.num_heads, config.head_dim
    made = {n: Weight((D, N, E), ("embed", axis, "head_dim"), inputs=1) for n, (N, axis) in _heads(config).items()}
    return made | {"output": Weight((H, E, D), ("heads", "head_dim", "embed"), "residual", inputs=2)}


def _attention_extras(config: ModelConfig, norm: str) -> dict[str, Weight]:
    """Biases of queries, keys and values, and norms of queries and keys."""
    E = config.head_dim
    made = {}
    for name, (N, axis) in _heads(config).items():
        if config.qkv_bias:
            made[f"{name}_bias"] = Weight((N, E), (axis, "head_dim"), "zeros")
    for name in ("query", "key"):
        N, axis = _heads(config)[name]
        if config.qk_norm == "head":
            made[f"{name}_norm"] = Weight((E,), ("head_dim",), norm)
        elif config.qk_norm == "all":
            made[f"{name}_norm"] = Weight((N, E), (axis, "head_dim"), norm)
    return made


def _latent_attention(config: ModelConfig) -> dict[str, Weight]:
    D, H, latent = config.hidden_size, config.num_heads, config.latent
    assert latent is not None
    made, rank = {}, latent.query_rank
    if rank:
        made["query_down"] = Weight((D, rank), ("embed", "latent"), inputs=1)
        made["query_down_norm"] = Weight((rank,), ("latent",), "ones")
        made["query_up"] = Weight((rank, H, config.head_dim), ("latent", "heads", "head_dim"), inputs=1)
    else:
        made["query"] = Weight((D, H, config.head_dim), ("embed", "heads", "head_dim"), inputs=1)
    made["latent_down"] = Weight((D, latent.rank + latent.rope_dim), ("embed", "latent"), inputs=1)
    made["latent_norm"] = Weight((latent.rank,), ("latent",), "ones")
    outputs = latent.plain_dim + latent.value_dim
    made["latent_up"] = Weight((latent.rank, H, outputs), ("latent", "heads", "head_dim"), inputs=1)
    made["output"] = Weight((H, latent.value_dim, D), ("heads", "head_dim", "embed"), "residual", inputs=2)
    return made


def _mlp(config: ModelConfig, prefix: str = "", width: int = 0) -> dict[str, Weight]:
    D, F = config.hidden_size, width or config.intermediate_size
    return {
        f"{prefix}gate": Weight((D, F), ("embed", "mlp"), inputs=1),
        f"{prefix}up": Weight((D, F), ("embed", "mlp"), inputs=1),
        f"{prefix}down": Weight((F, D), ("mlp", "embed"), "residual", inputs=1),
    }


def _experts(config: ModelConfig) -> dict[str, Weight]:
    experts = config.experts
    assert experts is not None
    made = {"router": Weight((config.hidden_size, experts.count), ("embed", "routes"), inputs=1)}
    if experts.score == "sigmoid":
        made["router_bias"] = Weight((experts.count,), ("routes",), "zeros")
    for name, weight in _mlp(config, "expert_", experts.width).items():
        shape, axes = (experts.count, *weight.shape), ("experts", *weight.axes)
        made[name] = Weight(shape, axes, weight.init, weight.inputs)
    if experts.shared_width:
        made |= _mlp(config, "shared_", experts.shared_width)
    return made


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


def abstract(weights: Mapping[tuple[str, ...], Weight], shardings: Params) -> Params:
    """Shapes, float32, and shardings of a table's weights: for checkpoints and compiling ahead of time."""
    leaves = {path: jax.ShapeDtypeStruct(weight.shape, jnp.float32) for path, weight in weights.items()}
    return jax.tree.map(lambda s, p: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=p), tree(leaves), shardings)


def initialize(config: ModelConfig, key: jax.Array, weights: Mapping[tuple[str, ...], Weight] | None = None) -> Params:
    """Random float32 weights. Jit it with `out_shardings` to make them in place on a mesh.

    Args:
        config: the model.
        key: of all of them.
        weights: a table of others than the model's own.
    """

    def make(index: int, weight: Weight) -> jax.Array:
        if weight.init in ("ones", "zeros"):
            return jnp.full(weight.shape, float(weight.init == "ones"), jnp.float32)
        if weight.init == "uniform":
            bound = 1 / math.sqrt(math.prod(weight.shape[1:-1]))
            return jax.random.uniform(jax.random.fold_in(key, index), weight.shape, jnp.float32, -bound, bound)
        std = config.initializer_range
        if weight.init == "residual":
            std /= math.sqrt(2 * config.num_layers)
        return std * jax.random.normal(jax.random.fold_in(key, index), weight.shape, jnp.float32)

    return tree({path: make(index, weight) for index, (path, weight) in enumerate((weights or table(config)).items())})


def dtype_of(name: str, dtype: DTypeLike) -> DTypeLike:
    """Of weight `name` where weights are of this dtype: those of `EXACT` are float32."""
    return jnp.float32 if name in EXACT else dtype


def cast(params: Params, dtype: DTypeLike) -> Params:
    """The weights in the compute dtype, those of `EXACT` in float32."""
    return jax.tree_util.tree_map_with_path(lambda path, x: x.astype(dtype_of(path[-1].key, dtype)), params)
