"""Rotary position embeddings (arXiv 2104.09864) and the ways in which checkpoints stretch them to longer texts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rl_reason.errors import UsageError


@dataclass(frozen=True)
class Rope:
    """Which pairs of a head's dimensions are turned, and how fast."""

    frequencies: tuple[float, ...]
    """Radians a position, one for each pair; fewer pairs than the head has leave its last dimensions alone."""
    factor: float = 1.0
    """Of cos and sin."""
    interleaved: bool = False
    """Pairs are (2i, 2i + 1); else (i, i + E/2), the layout of most Hugging Face files."""
    long_frequencies: tuple[float, ...] = ()
    """What holds for arrays longer than `original_positions`, where there is such a thing (LongRoPE)."""
    original_positions: int = 0


def make_rope(parameters: Mapping[str, Any], dims: int, max_positions: int, interleaved: bool = False) -> Rope:
    """From `rope_parameters` of a config.

    Args:
        parameters: `rope_type`, `rope_theta` and what belongs to the type.
        dims: dimensions of a head that are turned.
        max_positions: the model's `max_position_embeddings`.
        interleaved: see `Rope`.

    Raises:
        UsageError: a type that is not known, or one of its numbers is missing.
    """
    kind = parameters.get("rope_type", "default")
    if kind not in _KINDS:
        raise UsageError(f"config.json: rope_type={kind!r}: expected one of {', '.join(_KINDS)}")
    plain = parameters["rope_theta"] ** -(np.arange(0, dims, 2) / dims)
    try:
        made = _KINDS[kind](plain, parameters, max_positions)
    except KeyError as error:
        raise UsageError(f"config.json: rope_type={kind!r}: {error} is missing") from None
    as_tuple = lambda x: tuple(float(np.float32(value)) for value in x)  # noqa: E731
    lists = {name: as_tuple(value) for name, value in made.items() if name.endswith("frequencies")}
    return Rope(**(made | lists), interleaved=interleaved)


def _default(plain: np.ndarray, parameters: Mapping, max_positions: int) -> dict:
    return {"frequencies": plain}


def _linear(plain: np.ndarray, parameters: Mapping, max_positions: int) -> dict:
    """Position interpolation (arXiv 2306.15595)."""
    return {"frequencies": plain / parameters["factor"]}


def _llama3(plain: np.ndarray, parameters: Mapping, max_positions: int) -> dict:
    """Llama 3.1: long waves are stretched, short ones are not, those between in proportion (arXiv 2407.21783)."""
    low, high = parameters["low_freq_factor"], parameters["high_freq_factor"]
    waves = parameters["original_max_position_embeddings"] * plain / (2 * math.pi)
    kept = np.clip((waves - low) / (high - low), 0.0, 1.0)
    return {"frequencies": plain * (kept + (1 - kept) / parameters["factor"])}


def _yarn(plain: np.ndarray, parameters: Mapping, max_positions: int) -> dict:
    """YaRN (arXiv 2309.00071, section 3.2), with DeepSeek's two factors of the attention's temperature."""
    original = parameters["original_max_position_embeddings"]
    factor = parameters.get("factor") or max_positions / original
    pairs = len(plain)
    log_theta = math.log(parameters["rope_theta"])

    def pair_that_turns(times: float) -> float:
        return pairs * math.log(original / (times * 2 * math.pi)) / log_theta

    first = pair_that_turns(parameters.get("beta_fast") or 32)
    last = pair_that_turns(parameters.get("beta_slow") or 1)
    if parameters.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, 2 * pairs - 1)
    stretched = np.clip((np.arange(pairs) - first) / (max(last - first, 0.001)), 0.0, 1.0)
    temperature = parameters.get("attention_factor")
    if temperature is None:
        one, all_dims = parameters.get("mscale"), parameters.get("mscale_all_dim")
        if one and all_dims:
            temperature = yarn_scale(factor, one) / yarn_scale(factor, all_dims)
        else:
            temperature = yarn_scale(factor)
    return {"frequencies": plain * (1 - stretched + stretched / factor), "factor": float(temperature)}


def yarn_scale(factor: float, weight: float = 1.0) -> float:
    """YaRN's equation 22 with DeepSeek's weight: 0.1 · weight · ln(factor) + 1."""
    return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0


def _longrope(plain: np.ndarray, parameters: Mapping, max_positions: int) -> dict:
    """LongRoPE (arXiv 2402.13753): a searched factor for each pair, other ones for long texts."""
    original = parameters["original_max_position_embeddings"]
    factor = parameters.get("factor") or max_positions / original
    temperature = parameters.get("attention_factor")
    if temperature is None:
        temperature = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))
    return {
        "frequencies": plain / np.array(parameters["short_factor"]),
        "long_frequencies": plain / np.array(parameters["long_factor"]),
        "original_positions": original,
        "factor": float(temperature),
    }


_KINDS = {"default": _default, "linear": _linear, "llama3": _llama3, "yarn": _yarn, "longrope": _longrope}

Angles = tuple[jax.Array, jax.Array]
"""cos and sin, float32 [B, T, 1, pairs]."""


def rotary_angles(positions_BT: jax.Array, rope: Rope, length: int) -> Angles:
    """cos and sin of position · frequency (arXiv 2104.09864, equation 15).

    Args:
        positions_BT: int32.
        rope: the frequencies.
        length: most tokens that a row of this computation can have; decides between LongRoPE's two sets.
    """
    is_long = bool(rope.long_frequencies) and length > rope.original_positions
    frequencies = np.array(rope.long_frequencies if is_long else rope.frequencies, np.float32)
    angles = positions_BT.astype(jnp.float32)[..., None, None] * frequencies[None, None, None, :]
    return rope.factor * jnp.cos(angles), rope.factor * jnp.sin(angles)


def rotate(x_BTHE: jax.Array, angles: Angles, interleaved: bool = False) -> jax.Array:
    """Turns the pairs of a head by their angles; dimensions behind the last pair stay.

    Interleaved pairs come out as halves: queries and keys alike, so that their products are the same.
    """
    cos, sin = angles
    turned_dims = 2 * cos.shape[-1]
    x32 = x_BTHE[..., :turned_dims].astype(jnp.float32)
    first, second = (x32[..., 0::2], x32[..., 1::2]) if interleaved else jnp.split(x32, 2, axis=-1)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x_BTHE.dtype)
    return jnp.concatenate([turned, x_BTHE[..., turned_dims:]], axis=-1)
