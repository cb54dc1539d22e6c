"""Attention: of whole sequences, plainly or by a kernel, and of one new token over a cache in two parts.

A kernel never holds the scores of a whole row of heads, so memory grows with the length and not with its square.
`choose` names the one to take; all compute what `attend` computes under a causal mask.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu import splash_attention as splash
from jax.sharding import PartitionSpec

from rl_reason.errors import UsageError, nearest
from rl_reason.models.config import ModelConfig
from rl_reason.parallel.mesh import OnMesh, mesh_axes

LARGE_NEGATIVE = -2.0e38
SPLASH_BLOCK = 512
"""Queries and keys that splash attention takes at once; half of them where heads are wider than 256."""


def cap(x: jax.Array, limit: float) -> jax.Array:
    """limit · tanh(x / limit): almost x where it is small, never beyond the limit; 0: x."""
    return limit * jnp.tanh(x / limit) if limit else x


@jax.named_scope("attention")
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
    # The query heads of a key/value head stand one behind the other in one product of two matrices: written with their
    # axes apart, XLA transposes scores in between, and on CPU takes 1.4 times as long. Time comes before them, so that
    # what is split along time stays so.
    q = jnp.swapaxes(q_BTHE.reshape(B, T, K, H // K, E), 1, 2).reshape(B, K, -1, E)
    k, v = jnp.swapaxes(k_BSKE, 1, 2), jnp.swapaxes(v_BSKF, 1, 2)
    scores = jnp.einsum("bkqe,bkse->bkqs", q, k, preferred_element_type=jnp.float32) * scale
    scores = cap(scores, softcap).reshape(B, K, T, H // K, -1)
    scores = jnp.where(mask_BTS[:, None, :, None], scores, LARGE_NEGATIVE)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype).reshape(B, K, -1, scores.shape[-1])
    attended = jnp.einsum("bkqs,bksf->bkqf", weights, v).reshape(B, K, T, H // K, -1)
    return jnp.swapaxes(attended, 1, 2).reshape(B, T, H, -1)


def choose(setting: str, device: jax.Device, config: ModelConfig, dtype: jnp.dtype) -> str:
    """Who attends to whole sequences: "splash", "cudnn" or "xla". The only place where this is decided.

    - "splash", splash attention: on TPU, any model.
    - "cudnn", cuDNN's flash attention: on NVIDIA GPUs from Ampere on, in half precision, for heads of at most 128
      dimensions (beyond them it depends on the GPU) in multiples of 8, keys and values of the same width (not latent
      attention) and scores without a cap (not Gemma 2).
    - "xla", `attend`: everywhere.

    Args:
        setting: one of these, or "auto": the first of them that can.
        device: one of those that will compute.
        config: the model.
        dtype: of the computation.

    Raises:
        UsageError: no such setting, or the kernel that it names cannot.
    """
    reasons = {"splash": "", "cudnn": "", "xla": ""}  # … why not
    if device.platform != "tpu":
        reasons["splash"] = f"it runs on TPU, not on {device.platform}"
    capability = str(getattr(device, "compute_capability", ""))  # "9.0"; of an AMD GPU, "gfx942"
    if not (device.platform == "gpu" and capability[:1].isdigit() and float(capability) >= 8):
        reasons["cudnn"] = f"it runs on NVIDIA GPUs from Ampere on, not on {device.device_kind}"
    elif dtype not in (jnp.bfloat16, jnp.float16):
        reasons["cudnn"] = f"it computes in half precision, not in {dtype}"
    elif config.latent:
        reasons["cudnn"] = "it takes keys and values of the same width, not latent attention"
    elif config.attention_softcap:
        reasons["cudnn"] = "it cannot cap scores, as this model does"
    elif config.head_dim > 128 or config.head_dim % 8:
        reasons["cudnn"] = f"it takes heads of at most 128 dimensions, a multiple of 8, not {config.head_dim}"
    if setting == "auto":
        return next(name for name, reason in reasons.items() if not reason)
    if setting not in reasons:
        raise UsageError(f"config.model.attention={setting!r}: unknown kernel{nearest(setting, ['auto', *reasons])}")
    if reasons[setting]:
        raise UsageError(f"config.model.attention={setting!r}: {reasons[setting]}; expected 'auto' or 'xla'")
    return setting


def attend_splash(
    q_BTHE: jax.Array,
    k_BSKE: jax.Array,
    v_BSKF: jax.Array,
    segments_BS: jax.Array,
    window: int,
    scale: float,
    softcap: float = 0.0,
    interpret: bool = False,
    first: int = 0,
) -> jax.Array:
    """Splash attention, a flash attention (arXiv 2205.14135) that skips blocks outside the mask. [B, T, H, F].

    Args:
        q_BTHE: queries, those of the tokens `first` … `first + T − 1`.
        k_BSKE: keys.
        v_BSKF: values.
        segments_BS: int32; a token sees those up to itself with its own number, among padding as well.
        window: so many of them, itself counted; S or more: all.
        scale: of the scores.
        softcap: see `cap`.
        interpret: runs on any platform, slowly.
        first: see the queries.
    """
    T, H = q_BTHE.shape[1:3]
    most = SPLASH_BLOCK if k_BSKE.shape[-1] <= 256 else SPLASH_BLOCK // 2
    # Blocks are multiples of 128, and lengths of blocks.
    of_q, of_kv = (min(_round_up(length, 128), most) for length in (T, k_BSKE.shape[1]))
    shape = (_round_up(T, of_q), _round_up(k_BSKE.shape[1], of_kv))
    q = (q_BTHE.astype(jnp.float32) * scale).astype(q_BTHE.dtype)
    q, k, v = (jnp.swapaxes(_pad_time(x, n), 1, 2) for x, n in ((q, shape[0]), (k_BSKE, shape[1]), (v_BSKF, shape[1])))
    segments = splash.SegmentIds(
        _pad_time(segments_BS[:, first : first + T], shape[0]), _pad_time(segments_BS, shape[1])
    )
    is_whole = window >= segments_BS.shape[1]
    mask = splash.CausalMask(shape, first) if is_whole else splash.LocalMask(shape, (window - 1, 0), first)
    sizes = splash.BlockSizes(
        block_q=of_q,
        block_kv=of_kv,
        block_q_dkv=of_q,
        block_kv_dkv=of_kv,
        block_q_dq=of_q,
        block_kv_dq=of_kv,
    )
    kernel = splash.make_splash_mha(
        splash.MultiHeadMask([mask] * H),
        block_sizes=sizes,
        attn_logits_soft_cap=softcap or None,
        head_shards=1,
        q_seq_shards=1,
        interpret=interpret,
    )
    made = jax.vmap(kernel)(q, k, v, segments)
    return jnp.swapaxes(made, 1, 2)[:, :T]


def attend_cudnn(
    q_BTHE: jax.Array,
    k_BSKE: jax.Array,
    v_BSKE: jax.Array,
    segments_BS: jax.Array,
    window: int,
    scale: float,
    softcap: float = 0.0,
    implementation: Literal["cudnn", "xla"] = "cudnn",
    first: int = 0,
) -> jax.Array:
    """cuDNN's flash attention; the arguments are those of `attend_splash`. [B, T, H, E].

    Segments and window go into one mask, which cuDNN reads as a bias of bfloat16 [B, 1, T, S]: a window of its own
    beside a bias is untested in jax, as is packing without one. What the mask says of later tokens is never read, but
    where there are queries of some tokens only: then the mask alone says what is later.
    """
    assert not softcap, "`choose` keeps such models away"
    T, S = q_BTHE.shape[1], k_BSKE.shape[1]
    # The backward pass needs an even length, and below a multiple of 128 can give NaN (pytorch/pytorch#196678).
    q, k, v, segments = (_pad_time(x, _round_up(x.shape[1], 128)) for x in (q_BTHE, k_BSKE, v_BSKE, segments_BS))
    own = _pad_time(segments_BS[:, first : first + T], q.shape[1])
    distance_TS = first + jnp.arange(q.shape[1])[:, None] - jnp.arange(k.shape[1])[None, :]
    mask_BTS = (own[:, :, None] == segments[:, None, :]) & (distance_TS < window)[None]
    mask_BTS = mask_BTS & (distance_TS >= 0)[None] if T < S else mask_BTS
    made = jax.nn.dot_product_attention(
        q, k, v, mask=mask_BTS[:, None], scale=scale, is_causal=T == S, implementation=implementation
    )
    return made[:, :T]


KERNELS: dict[str, Callable[..., jax.Array]] = {"splash": attend_splash, "cudnn": attend_cudnn}


@jax.named_scope("attention")
def attend_by_kernel(
    kernel: str,
    q_BTHE: jax.Array,
    k_BTKE: jax.Array,
    v_BTKF: jax.Array,
    segments_BT: jax.Array,
    windows: Sequence[int],
    which: jax.Array,
    scale: float,
    softcap: float,
    constrain: Callable,
) -> jax.Array:
    """Attention of whole sequences by a kernel, on each device that of its rows and heads. [B, T, H, F].

    Args:
        kernel: a key of `KERNELS`; the other arguments are those of `attend_splash`, but
        windows: of all layers; a kernel is compiled for each of them,
        which: int32 scalar, the index of this layer's window,
        constrain: see `decoder`.
    """

    def of(window: int) -> Callable[..., jax.Array]:
        see = functools.partial(KERNELS[kernel], window=window, scale=scale, softcap=softcap)
        return functools.partial(_on_mesh, see, constrain)

    return jax.lax.switch(which, [of(window) for window in windows], q_BTHE, k_BTKE, v_BTKF, segments_BT)


def _on_mesh(
    see: Callable[..., jax.Array], constrain: Callable, q: jax.Array, k: jax.Array, v: jax.Array, segments_BT: jax.Array
) -> jax.Array:
    """XLA cannot partition a kernel: each device runs it on what it holds."""
    if not isinstance(constrain, OnMesh):
        return see(q, k, v, segments_BT)
    of_q = constrain.spec(("batch", "time", "heads", None), q.shape)
    of_kv = constrain.spec(("batch", "keys", "kv_heads", None), k.shape)
    group, over_time = q.shape[2] // k.shape[2], mesh_axes(of_q[1])

    def part(q: jax.Array, k: jax.Array, v: jax.Array, segments_BT: jax.Array) -> jax.Array:
        if of_q[2] != of_kv[2] and k.shape[2] > 1:
            # Too few key/value heads to split, as query heads are: each query head takes its own along.
            own = (jax.lax.axis_index(of_q[2]) * q.shape[2] + jnp.arange(q.shape[2])) // group
            k, v = k[:, :, own], v[:, :, own]
        if not over_time:
            return see(q, k, v, segments_BT)
        # What a kernel skips is compiled, so there is one for each part of the time.
        T = q.shape[1]
        parts = [functools.partial(see, first=start) for start in range(0, k.shape[1], T)]
        return jax.lax.switch(jax.lax.axis_index(over_time), parts, q, k, v, segments_BT)

    specs = (of_q, of_kv, of_kv, PartitionSpec(of_q[0]))
    # Pallas does not say over which axes its outputs vary, so this cannot be checked.
    placed = jax.shard_map(part, mesh=constrain.mesh, in_specs=specs, out_specs=of_q, check_vma=False)
    return placed(q, k, v, segments_BT)


def _round_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def _pad_time(x: jax.Array, length: int) -> jax.Array:
    """Zeros behind axis 1: padding, in segments."""
    return jnp.pad(x, [(0, length - n if axis == 1 else 0) for axis, n in enumerate(x.shape)])


@jax.named_scope("attention")
def attend_to_cache(
    q_B1HE: jax.Array,
    prompt: tuple[jax.Array, jax.Array, jax.Array],
    own: tuple[jax.Array, jax.Array, jax.Array],
    scale: float,
    softcap: float = 0.0,
) -> jax.Array:
    """One query a sample over its prompt's keys and its own, under one softmax in float32. [B, 1, H, F].

    Keys lie with their positions last: a product with few queries reads them three times as fast on CPU.

    Args:
        q_B1HE: queries; row q · G + g is sample g of question q.
        prompt: keys [Q, K, E, P] and values [Q, K, P, F] of each question, bool mask [Q, P].
        own: keys [B, K, E, T] and values [B, K, T, F] of each sample, bool mask [T].
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
    on_prompt = jnp.einsum("qkgre,qkep->qkgrp", by_question, prompt_keys, preferred_element_type=f32) * scale
    on_prompt = jnp.where(mask_QP[:, None, None, None, :], cap(on_prompt, softcap), LARGE_NEGATIVE)
    on_own = jnp.einsum("bkre,bket->bkrt", grouped, keys, preferred_element_type=f32) * scale
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
