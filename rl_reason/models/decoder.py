"""The decoder: pure functions of the weight tree, for training (whole sequences) and decoding (with a cache).

Families are rows of `ModelConfig` over these functions (`models.families`).
`constrain(x, axes)` places an activation on the mesh by its logical axes; without a mesh it is the identity.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from rl_reason.models.attention import attend, attend_by_kernel, cap
from rl_reason.models.config import ModelConfig
from rl_reason.models.experts import loads, mix
from rl_reason.models.rope import Angles, rotary_angles, rotate
from rl_reason.models.weights import Params

Constrain = Callable[[jax.Array, tuple[str | None, ...]], jax.Array]

REMAT_POLICIES = {
    "none": None,
    "layer": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}
"""What is kept of a layer's forward pass for its backward pass: everything, nothing, or the matrix products."""


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "silu": jax.nn.silu,
    "gelu_tanh": functools.partial(jax.nn.gelu, approximate=True),
}


def no_constraint(x: jax.Array, axes: tuple[str | None, ...]) -> jax.Array:
    return x


def rms_norm(x: jax.Array, scale: jax.Array, eps: float, offset: float = 0.0) -> jax.Array:
    """x / RMS(x) · (offset + scale) over the axes of `scale`, computed in float32 (arXiv 1910.07467)."""
    x32 = x.astype(jnp.float32)
    axes = tuple(range(x.ndim - scale.ndim, x.ndim))
    normed = x32 * jax.lax.rsqrt(jnp.mean(x32 * x32, axis=axes, keepdims=True) + eps)
    if offset:
        return (normed * (offset + jnp.expand_dims(scale, range(axes[0])).astype(jnp.float32))).astype(x.dtype)
    return normed.astype(x.dtype) * jnp.expand_dims(scale, range(axes[0]))


@jax.named_scope("embed")
def embed(params: Params, tokens_BT: jax.Array, config: ModelConfig, constrain: Constrain) -> jax.Array:
    # Gathered whole along its width first: taken from a split table, the activations would change layout twice.
    embeddings_VD = constrain(params["embed"], ("vocab", "width"))
    x_BTD = constrain(embeddings_VD[constrain(tokens_BT, ("rows", "time"))], ("rows", "time", "width"))
    x_BTD = constrain(x_BTD, ("batch", "time", "width"))
    # In the dtype of the weights, as the models were trained: √D is rounded with them.
    return x_BTD * jnp.asarray(config.embed_scale, x_BTD.dtype) if config.embed_scale != 1 else x_BTD


def head_weights(params: Params) -> jax.Array:
    """[V, D], the embedding where it is tied."""
    return params.get("head", params["embed"])


def scores(params: Params, hidden_BTD: jax.Array) -> jax.Array:
    """A number of each hidden state, float32 [B, T], by the layer that gives scores."""
    return jnp.einsum("btd,d->bt", hidden_BTD, params["score"][0], preferred_element_type=jnp.float32)


@struct.dataclass
class Transposed:
    """A linear layer's weight as [outputs, inputs], the order in which a product with few tokens reads it fastest: on
    CPU twice as fast. Decoding takes it; whole sequences are as fast either way."""

    matrix: jax.Array
    outputs: tuple[int, ...] = struct.field(pytree_node=False)
    """Shape of what comes out for a token."""

    @classmethod
    def of(cls, weight: jax.Array, inputs: int) -> Transposed:
        width = math.prod(weight.shape[:inputs])
        return cls(weight.reshape(width, -1).T, weight.shape[inputs:])


def linear(x: jax.Array, weight: jax.Array | Transposed, inputs: int = 1) -> jax.Array:
    """Contracts the last `inputs` axes of x with the first ones of the weight, as one product of two matrices.

    The product is written on flattened tokens because its gradient by the weight, a contraction over batch and time,
    otherwise makes XLA transpose the activations first: twice the time of the whole MLP on CPU.
    """
    leading = x.shape[: x.ndim - inputs]
    if isinstance(weight, Transposed):
        product = (weight.matrix @ x.reshape(-1, weight.matrix.shape[1]).T).T
        return product.reshape(*leading, *weight.outputs)
    width = math.prod(weight.shape[:inputs])
    product = x.reshape(-1, width) @ weight.reshape(width, -1)
    return product.reshape(*leading, *weight.shape[inputs:])


def project(layer: Params, name: str, x: jax.Array, config: ModelConfig, inputs: int = 1) -> jax.Array:
    """A linear layer, with its adapters where it has some (`models.lora`)."""
    y = linear(x, layer[name], inputs)
    if config.lora and f"{name}_lora_a" in layer:
        low = linear(x, layer[f"{name}_lora_a"], inputs)
        y = y + config.lora.scale * linear(low, layer[f"{name}_lora_b"])
    return y


def all_angles(positions_BT: jax.Array, length: int, config: ModelConfig) -> list[Angles]:
    """The angles of each of the model's rotary embeddings, behind them angles of 0 for layers without one."""
    made = [rotary_angles(positions_BT, rope, length) for rope in config.ropes]
    cos, sin = made[0]
    return [*made, (jnp.ones_like(cos), jnp.zeros_like(sin))]


@jax.named_scope("queries_keys_values")
def queries_keys_values(
    layer: Params, x_BTD: jax.Array, angles: Angles, config: ModelConfig, constrain: Constrain
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What attention works on, rotated: q [B, T, H, E], and what is cached, k [B, T, K, E] and v [B, T, K, F]."""
    if config.pre_norm:
        x_BTD = rms_norm(x_BTD, layer["attention_norm"], config.rms_norm_eps, config.norm_offset)
    interleaved = config.ropes[0].interleaved
    if config.latent:
        return _latent_queries_keys_values(layer, x_BTD, angles, config, constrain)
    made = {}
    for name, heads in (("query", "heads"), ("key", "kv_heads"), ("value", "kv_heads")):
        y = project(layer, name, x_BTD, config)
        if config.qkv_bias:
            y = y + layer[f"{name}_bias"][None, None]
        if config.qk_norm and name != "value":
            y = rms_norm(y, layer[f"{name}_norm"], config.rms_norm_eps, config.norm_offset)
        made[name] = constrain(y, ("batch", "time", heads, None))
    return rotate(made["query"], angles, interleaved), rotate(made["key"], angles, interleaved), made["value"]


def _latent_queries_keys_values(
    layer: Params, x_BTD: jax.Array, angles: Angles, config: ModelConfig, constrain: Constrain
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Latent attention with the keys' up-projection moved to the queries (arXiv 2405.04434, appendix C).

    So all heads see one key, the latent vector with its rotated part, and one value, the latent vector itself: the
    cache holds little, and training and decoding compute the same.
    """
    latent = config.latent
    assert latent is not None
    eps, interleaved = config.rms_norm_eps, config.ropes[0].interleaved
    if latent.query_rank:
        low = rms_norm(project(layer, "query_down", x_BTD, config), layer["query_down_norm"], eps)
        q = project(layer, "query_up", low, config)
    else:
        q = project(layer, "query", x_BTD, config)
    q = constrain(q, ("batch", "time", "heads", None))
    down = project(layer, "latent_down", x_BTD, config)
    values = rms_norm(down[..., : latent.rank], layer["latent_norm"], eps)[:, :, None]
    turned = rotate(down[:, :, None, latent.rank :], angles, interleaved)
    up_keys = layer["latent_up"][..., : latent.plain_dim]
    on_latent = jnp.einsum("bthp,rhp->bthr", q[..., : latent.plain_dim], up_keys)
    queries = jnp.concatenate([on_latent, rotate(q[..., latent.plain_dim :], angles, interleaved)], axis=-1)
    return queries, jnp.concatenate([values, turned], axis=-1), values


@jax.named_scope("close_block")
def close_block(
    layer: Params, x_BTD: jax.Array, attended_BTHF: jax.Array, config: ModelConfig, constrain: Constrain
) -> tuple[jax.Array, jax.Array | None]:
    """What follows attention in a layer: output projection, then the gated network or the experts, residuals.

    Returns:
        The layer's output, and which experts each token went to (`experts.mix`), None where there are none.
    """
    eps, offset = config.rms_norm_eps, config.norm_offset
    if config.latent:
        up_values = layer["latent_up"][..., config.latent.plain_dim :]
        attended_BTHF = jnp.einsum("bthr,rhv->bthv", attended_BTHF, up_values)
    y = project(layer, "output", attended_BTHF, config, inputs=2)
    if config.post_norm:
        y = rms_norm(y, layer["attention_post_norm"], eps, offset)
    x_BTD = constrain(x_BTD + y, ("batch", "time", "width"))
    y = rms_norm(x_BTD, layer["mlp_norm"], eps, offset) if config.pre_norm else x_BTD
    chosen = None
    if "router" in layer:
        assert config.experts is not None
        mixed, chosen = mix(layer, y, config.experts, ACTIVATIONS[config.activation], constrain)
        y = mixed + _gated(layer, y, config, constrain, "shared_") if config.experts.shared_width else mixed
    else:
        y = _gated(layer, y, config, constrain)
    if config.post_norm:
        y = rms_norm(y, layer["mlp_post_norm"], eps, offset)
    return constrain(x_BTD + y, ("batch", "time", "width")), chosen


@jax.named_scope("mlp")
def _gated(layer: Params, x_BTD: jax.Array, config: ModelConfig, constrain: Constrain, prefix: str = "") -> jax.Array:
    """act(x · gate) · (x · up) · down (arXiv 2002.05202)."""
    x_BTD = constrain(x_BTD, ("rows", "time", "width"))
    gate, up = (project(layer, f"{prefix}{name}", x_BTD, config) for name in ("gate", "up"))
    gated = constrain(ACTIVATIONS[config.activation](gate) * up, ("rows", "time", "mlp"))
    # Summed over devices first and then taken apart: at once, XLA would pass parts around in a step for each device.
    y = constrain(project(layer, f"{prefix}down", gated, config), ("rows", "time", "width"))
    return constrain(y, ("batch", "time", "width"))


def score_scale(config: ModelConfig) -> float:
    return config.query_scale or config.head_dim**-0.5


def positions_of(segments_BT: jax.Array) -> jax.Array:
    """Position of each token within its segment, int32 [B, T]; what is before a segment or padding does not count.

    A segment is a run of equal non-zero numbers; 0 is padding, on either side.
    """
    index = jnp.arange(segments_BT.shape[1], dtype=jnp.int32)[None]
    starts = jnp.concatenate(
        [jnp.ones_like(segments_BT[:, :1], bool), segments_BT[:, 1:] != segments_BT[:, :-1]], axis=1
    )
    return index - jax.lax.cummax(jnp.where(starts, index, 0), axis=1)


@struct.dataclass
class Prompts:
    """Prompts that several rows continue. Rows and prompts lie in lanes: a row continues a prompt of its own lane, so
    that on a mesh both are on the same device."""

    tokens: jax.Array
    """int32 [Q, P], padded on the left."""
    segments: jax.Array
    """int32 [Q, P], 1 where a token stands."""
    owners: jax.Array
    """int32 [lanes, B / lanes]: which of its lane's Q / lanes prompts each row continues."""

    def to_rows(self, x: jax.Array) -> jax.Array:
        """[Q, …] → [B, …], for each row that of its prompt. A product, whose gradient is one and not a scatter."""
        lanes, rows = self.owners.shape
        slots = x.shape[0] // lanes
        is_owner = (self.owners[..., None] == jnp.arange(slots)[None, None]).astype(x.dtype)
        spread = jnp.einsum("lbq,lqx->lbx", is_owner, x.reshape(lanes, slots, -1))
        return spread.reshape(lanes * rows, *x.shape[1:])


def forward(
    params: Params,
    tokens_BT: jax.Array,
    segments_BT: jax.Array,
    config: ModelConfig,
    remat: str = "none",
    constrain: Constrain = no_constraint,
    kernel: str = "xla",
    length: int = 0,
) -> tuple[jax.Array, jax.Array | None]:
    """Runs whole sequences.

    Args:
        params: weights in the compute dtype.
        tokens_BT: int32 token ids.
        segments_BT: int32; tokens attend to earlier ones of the same non-zero segment, 0 is padding.
        config: the model.
        remat: a key of `REMAT_POLICIES`.
        constrain: see the module.
        kernel: of attention, as `attention.choose` names it.
        length: most tokens that a sequence can have (`rope.rotary_angles`); 0: T.

    Returns:
        Final hidden states [B, T, D] in the dtype of the weights; the loads of each layer's experts, float32 [L, X]
        (`experts.loads`), None for a model without experts.
    """
    made = _run(params, tokens_BT, segments_BT, None, config, remat, constrain, kernel, length, segments_BT > 0)
    return made.hidden, made.loads


def prefill(
    params: Params, tokens_BT: jax.Array, segments_BT: jax.Array, config: ModelConfig, constrain: Constrain, length: int
) -> tuple[jax.Array, list[tuple[jax.Array, jax.Array]]]:
    """`forward`, with what a cache keeps of each layer: keys [B, T, K, E] and values [B, T, K, F], bottom first."""
    counted = segments_BT > 0
    made = _run(
        params, tokens_BT, segments_BT, None, config, "none", constrain, "xla", length, counted, keeps_cache=True
    )
    kept = [(keys[i], values[i]) for keys, values in made.cached for i in range(len(keys))]
    return made.hidden, kept


class States(NamedTuple):
    """Final hidden states of whole sequences."""

    own: jax.Array
    """Of each token, [B, T, D]."""
    before: jax.Array
    """For each token that of the one before it, which predicts it, [B, T, D]. Before the first token of a segment
    stands the last one of the prompt; without prompts, what stands there means nothing."""
    loads: jax.Array | None
    """Of experts (`experts.loads`), [L, X]."""


def states(
    params: Params,
    tokens_BT: jax.Array,
    segments_BT: jax.Array,
    prompts: Prompts | None,
    config: ModelConfig,
    remat: str = "none",
    constrain: Constrain = no_constraint,
    kernel: str = "xla",
    length: int = 0,
    counted_BT: jax.Array | None = None,
) -> States:
    """Runs rows that continue prompts. The arguments that `forward` does not have:

    Args:
        prompts: what the segments of each row continue, all of a row the same prompt; None: nothing. Its attention is
            plain.
        counted_BT: bool, the tokens that count for the loads of experts; None: those of segments.
    """
    counted_BT = segments_BT > 0 if counted_BT is None else counted_BT
    made = _run(params, tokens_BT, segments_BT, prompts, config, remat, constrain, kernel, length, counted_BT)
    before_BTD = jnp.pad(made.hidden[:, :-1], ((0, 0), (1, 0), (0, 0)))
    if made.last is not None:
        starts_BT = jnp.pad(segments_BT[:, 1:] != segments_BT[:, :-1], ((0, 0), (1, 0)), constant_values=True)
        before_BTD = jnp.where(starts_BT[..., None], made.last[:, None], before_BTD)
    return States(made.hidden, constrain(before_BTD, ("batch", "time", "width")), made.loads)


class _Made(NamedTuple):
    """Of whole sequences."""

    hidden: jax.Array
    """[B, T, D]."""
    last: jax.Array | None
    """[B, D] of the last token of each row's prompt, where there are prompts."""
    loads: jax.Array | None
    """Of experts, [L, X]."""
    cached: list[tuple[jax.Array, jax.Array]]
    """Keys and values of each stack of layers, [L, B, T, K, …], if they are kept."""


def _run(
    params: Params,
    tokens_BT: jax.Array,
    segments_BT: jax.Array,
    prompts: Prompts | None,
    config: ModelConfig,
    remat: str,
    constrain: Constrain,
    kernel: str,
    length: int,
    counted_BT: jax.Array,
    keeps_cache: bool = False,
) -> _Made:
    assert prompts is None or kernel == "xla", "kernels see tokens of the same segment only"
    T, P = tokens_BT.shape[1], 0 if prompts is None else prompts.tokens.shape[1]
    length = length or P + T
    positions_BT = positions_of(segments_BT)
    index = jnp.arange(T)
    distance_BTS = (index[:, None] - index[None, :])[None]  # how far back a key stands
    seen_BTS = (distance_BTS >= 0) & (segments_BT[:, :, None] == segments_BT[:, None, :])
    if prompts is not None:
        positions_QP = positions_of(prompts.segments)
        prompt_index = jnp.arange(P)
        prompt_distance_PP = prompt_index[:, None] - prompt_index[None, :]
        same_QPP = prompts.segments[:, :, None] == prompts.segments[:, None, :]
        prompt_angles = all_angles(positions_QP, length, config)
        positions_BT = positions_BT + prompts.to_rows(jnp.sum(prompts.segments, axis=1))[:, None]
        on_prompt_BTP = positions_BT[:, :, None] - prompts.to_rows(positions_QP)[:, None, :]
        distance_BTS = jnp.broadcast_to(distance_BTS, (len(tokens_BT), T, T))
        distance_BTS = jnp.concatenate([on_prompt_BTP, distance_BTS], axis=2)
        is_prompt_BTP = jnp.broadcast_to(prompts.to_rows(prompts.segments)[:, None, :] > 0, on_prompt_BTP.shape)
        seen_BTS = jnp.concatenate([is_prompt_BTP, seen_BTS], axis=2)
    angles = all_angles(positions_BT, length, config)
    ropes, layer_windows = set(config.layer_ropes), [min(window or length, length) for window in config.layer_windows]
    windows = sorted(set(layer_windows))
    scale, softcap = score_scale(config), config.attention_softcap

    def choose(angles: list[Angles], numbers: dict[str, jax.Array]) -> Angles:
        if len(ropes) == 1:
            return angles[config.layer_ropes[0]]
        return jax.tree.map(lambda *of_ropes: jnp.stack(of_ropes)[numbers["rope"]], *angles)

    def within(seen: jax.Array, distance: jax.Array, numbers: dict[str, jax.Array]) -> jax.Array:
        return seen if windows == [length] else seen & (distance < jnp.array(windows)[numbers["window"]])

    def of_whole_rows(x: jax.Array) -> jax.Array:
        """Keys or values where each device can see all that its queries may."""
        return constrain(x, ("batch", "keys", "kv_heads", None))

    def block(carry: Any, scanned: tuple[Params, dict[str, jax.Array]]) -> tuple[Any, tuple]:
        x_BTD, x_QPD = carry
        layer, numbers = scanned
        q, k, v = queries_keys_values(layer, x_BTD, choose(angles, numbers), config, constrain)
        kept = (k, v) if keeps_cache else None
        if prompts is not None:
            q_P, k_P, v_P = queries_keys_values(layer, x_QPD, choose(prompt_angles, numbers), config, constrain)
            k, v = (jnp.concatenate([prompts.to_rows(p), own], axis=1) for p, own in ((k_P, k), (v_P, v)))
            mask_QPP = within((prompt_distance_PP >= 0)[None] & same_QPP, prompt_distance_PP[None], numbers)
            k_P, v_P = of_whole_rows(k_P), of_whole_rows(v_P)
            x_QPD, _ = close_block(layer, x_QPD, attend(q_P, k_P, v_P, mask_QPP, scale, softcap), config, constrain)
        k, v = of_whole_rows(k), of_whole_rows(v)
        if kernel == "xla":
            attended = attend(q, k, v, within(seen_BTS, distance_BTS, numbers), scale, softcap)
        else:
            attended = attend_by_kernel(
                kernel, q, k, v, segments_BT, windows, numbers["window"], scale, softcap, constrain
            )
        x_BTD, chosen = close_block(layer, x_BTD, attended, config, constrain)
        if chosen is None:
            return (x_BTD, x_QPD), (None, kept)
        assert config.experts is not None
        return (x_BTD, x_QPD), (loads(chosen, counted_BT, config.experts.count), kept)

    if remat != "none":
        block = jax.checkpoint(block, policy=REMAT_POLICIES[remat], prevent_cse=False)
    # The hidden states of rows and prompts.
    x_QPD = None if prompts is None else embed(params, prompts.tokens, config, constrain)
    carry: Any = embed(params, tokens_BT, config, constrain), x_QPD
    cached = []
    for name, layers in config.stacks:
        # What differs between layers is scanned beside their weights, by its number.
        numbers = {
            "rope": jnp.array([config.layer_ropes[i] % len(angles) for i in layers]),
            "window": jnp.array([windows.index(layer_windows[i]) for i in layers]),
        }
        # Layers with experts are the last stack, if there are any.
        carry, (loads_LX, kept) = jax.lax.scan(block, carry, (params[name], numbers))
        cached.append(kept)
    norm = functools.partial(rms_norm, scale=params["final_norm"], eps=config.rms_norm_eps, offset=config.norm_offset)
    last_BD = None if prompts is None else prompts.to_rows(norm(carry[1][:, -1]))
    return _Made(norm(carry[0]), last_BD, loads_LX, cached)


def logits(
    params: Params, hidden_BTD: jax.Array, config: ModelConfig, constrain: Constrain = no_constraint
) -> jax.Array:
    """float32 [B, T, V]. For a few positions only: training takes `logprobs.token_logprobs`."""
    hidden_BTD = constrain(hidden_BTD, ("rows", "time", "width"))
    made = jnp.einsum("vd,btd->vbt", head_weights(params), hidden_BTD, preferred_element_type=jnp.float32)
    made = constrain(jnp.moveaxis(made, 0, 2), ("rows", "time", "vocab"))
    return constrain(cap(made, config.final_softcap), ("batch", "time", "logits"))
