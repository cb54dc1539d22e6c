"""The decoder: pure functions of the weight tree, for training (whole sequences) and decoding (with a cache).

Qwen2 (arXiv 2407.10671) and Llama 2/3 (arXiv 2307.09288) are rows of `ModelConfig` over these functions.
`constrain(x, axes)` places an activation on the mesh by its logical axes; without a mesh it is the identity.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from rl_reason.models.config import ModelConfig
from rl_reason.models.weights import Params

Constrain = Callable[[jax.Array, tuple[str | None, ...]], jax.Array]

REMAT_POLICIES = {
    "none": None,
    "layer": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}
"""What is kept of a layer's forward pass for its backward pass: everything, nothing, or the matrix products."""


def no_constraint(x: jax.Array, axes: tuple[str | None, ...]) -> jax.Array:
    return x


def rms_norm(x: jax.Array, scale: jax.Array, eps: float) -> jax.Array:
    """x / RMS(x) · scale over the last axis, computed in float32 (arXiv 1910.07467)."""
    x32 = x.astype(jnp.float32)
    normed = x32 * jax.lax.rsqrt(jnp.mean(x32 * x32, axis=-1, keepdims=True) + eps)
    return normed.astype(x.dtype) * jnp.expand_dims(scale, range(x.ndim - scale.ndim))


def rotary_angles(positions_BT: jax.Array, config: ModelConfig) -> tuple[jax.Array, jax.Array]:
    """cos and sin, float32 [B, T, 1, E/2], of the angles position · θ^(−2i/E) (arXiv 2104.09864, equation 15)."""
    exponents = jnp.arange(0, config.head_dim, 2, dtype=jnp.float32) / config.head_dim
    frequencies = config.rope_theta**-exponents
    angles = positions_BT.astype(jnp.float32)[..., None, None] * frequencies[None, None, None, :]
    return jnp.cos(angles), jnp.sin(angles)


def rotate(x_BTHE: jax.Array, angles: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Turns the pairs (i, i + E/2) by their angles: the layout of Hugging Face files."""
    cos, sin = angles
    first, second = jnp.split(x_BTHE.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x_BTHE.dtype)


def embed(params: Params, tokens_BT: jax.Array, constrain: Constrain = no_constraint) -> jax.Array:
    # Gathered whole along its width first: taken from a split table, the activations would change layout twice.
    embeddings_VD = constrain(params["embed"], ("vocab", "width"))
    return constrain(embeddings_VD[tokens_BT], ("batch", "time", "width"))


def head_weights(params: Params) -> jax.Array:
    """[V, D], the embedding where it is tied."""
    return params.get("head", params["embed"])


def linear(x: jax.Array, weight: jax.Array, inputs: int = 1) -> jax.Array:
    """Contracts the last `inputs` axes of x with the first ones of the weight, as one product of two matrices.

    The product is written on flattened tokens because its gradient by the weight, a contraction over batch and time,
    otherwise makes XLA transpose the activations first: twice the time of the whole MLP on CPU.
    """
    width = math.prod(weight.shape[:inputs])
    product = x.reshape(-1, width) @ weight.reshape(width, -1)
    return product.reshape(*x.shape[: x.ndim - inputs], *weight.shape[inputs:])


def queries_keys_values(
    layer: Params, x_BTD: jax.Array, angles: tuple[jax.Array, jax.Array], config: ModelConfig, constrain: Constrain
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The attention's inputs: q [B, T, H, E], k and v [B, T, K, E], rotated."""
    x_BTD = rms_norm(x_BTD, layer["attention_norm"], config.rms_norm_eps)
    made = {}
    for name, heads in (("query", "heads"), ("key", "kv_heads"), ("value", "kv_heads")):
        y = linear(x_BTD, layer[name])
        if config.qkv_bias:
            y = y + layer[f"{name}_bias"][None, None]
        if config.qk_norm and name != "value":
            y = rms_norm(y, layer[f"{name}_norm"], config.rms_norm_eps)
        made[name] = constrain(y, ("batch", "time", heads, None))
    return rotate(made["query"], angles), rotate(made["key"], angles), made["value"]


def close_block(
    layer: Params, x_BTD: jax.Array, attended_BTHE: jax.Array, config: ModelConfig, constrain: Constrain
) -> jax.Array:
    """What follows attention in a layer: output projection, then the SwiGLU network (arXiv 2002.05202), residuals."""
    x_BTD = x_BTD + linear(attended_BTHE, layer["output"], inputs=2)
    x_BTD = constrain(x_BTD, ("batch", "time", "width"))
    y = rms_norm(x_BTD, layer["mlp_norm"], config.rms_norm_eps)
    gated = jax.nn.silu(linear(y, layer["gate"])) * linear(y, layer["up"])
    gated = constrain(gated, ("batch", "time", "mlp"))
    return constrain(x_BTD + linear(gated, layer["down"]), ("batch", "time", "width"))


def positions_of(segments_BT: jax.Array) -> jax.Array:
    """Position of each token within its segment, int32 [B, T]; what is before a segment or padding does not count.

    A segment is a run of equal non-zero numbers; 0 is padding, on either side.
    """
    index = jnp.arange(segments_BT.shape[1], dtype=jnp.int32)[None]
    starts = jnp.concatenate(
        [jnp.ones_like(segments_BT[:, :1], bool), segments_BT[:, 1:] != segments_BT[:, :-1]], axis=1
    )
    return index - jax.lax.cummax(jnp.where(starts, index, 0), axis=1)


def forward(
    params: Params,
    tokens_BT: jax.Array,
    segments_BT: jax.Array,
    config: ModelConfig,
    remat: str = "none",
    constrain: Constrain = no_constraint,
) -> jax.Array:
    """Final hidden states [B, T, D] of whole sequences, in the dtype of the weights.

    Args:
        params: weights in the compute dtype.
        tokens_BT: int32 token ids.
        segments_BT: int32; tokens attend to earlier ones of the same non-zero segment, 0 is padding.
        config: the model.
        remat: a key of `REMAT_POLICIES`.
        constrain: see the module.
    """
    angles = rotary_angles(positions_of(segments_BT), config)
    causal_TT = jnp.tril(jnp.ones((tokens_BT.shape[1],) * 2, bool))
    mask_B1TT = (causal_TT[None] & (segments_BT[:, :, None] == segments_BT[:, None, :]))[:, None]

    def block(x_BTD: jax.Array, layer: Params) -> tuple[jax.Array, None]:
        q, k, v = queries_keys_values(layer, x_BTD, angles, config, constrain)
        attended = jax.nn.dot_product_attention(q, k, v, mask=mask_B1TT)
        return close_block(layer, x_BTD, attended, config, constrain), None

    if remat != "none":
        block = jax.checkpoint(block, policy=REMAT_POLICIES[remat], prevent_cse=False)
    x_BTD, _ = jax.lax.scan(block, embed(params, tokens_BT, constrain), params["layers"])
    return rms_norm(x_BTD, params["final_norm"], config.rms_norm_eps)


def logits(params: Params, hidden_BTD: jax.Array) -> jax.Array:
    """float32 [B, T, V]. For a few positions only: training takes `logprobs.token_logprobs`."""
    return jnp.einsum("btd,vd->btv", hidden_BTD, head_weights(params), preferred_element_type=jnp.float32)
