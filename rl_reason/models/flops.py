"""What a model's matrix products cost at least: the numerator of MFU, model FLOPs utilisation (PaLM, arXiv 2204.02311,
appendix B), and the peaks of devices that it is divided by.

Counted is what has to be computed: a prompt once for all the completions that continue it, logits of the completions'
tokens alone, of attention the positions that are not masked. What is recomputed (remat) is not counted again.
"""

from __future__ import annotations

import numpy as np

from rl_reason.models.config import ModelConfig
from rl_reason.models.weights import table

PEAKS = {
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5": 459e12,
    "TPU v6 lite": 918e12,
    "NVIDIA A100": 312e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H200": 989e12,
}
"""Beginning of a device's kind → dense bfloat16 products, FLOPs per second, as its maker states them."""

BACKWARD = 2
"""Gradients take so many forward passes' products: by the inputs, and by the weights."""


def peak(device_kind: str, dtype: str) -> float | None:
    """FLOPs per second; None where it is not known."""
    known = [name for name in PEAKS if device_kind.startswith(name)]
    return PEAKS[max(known, key=len)] if known and dtype == "bfloat16" else None


def products(config: ModelConfig) -> tuple[int, int]:
    """FLOPs of a token in the layers, without attention over positions, and in the heads."""
    layers = heads = 0
    for path, weight in table(config).items():
        if "experts" in weight.axes:
            assert config.experts
            layers += 2 * weight.size * config.experts.per_token // config.experts.count
        elif weight.inputs:
            layers += 2 * weight.size
        elif path[0] in ("head", "score"):
            heads += 2 * weight.size
    if "vocabulary" in config.heads and config.tie_embeddings:
        heads += 2 * config.vocab_size * config.hidden_size
    return layers, heads


def forward(config: ModelConfig, prompts_Q: np.ndarray, prompts_B: np.ndarray, completions_B: np.ndarray) -> float:
    """FLOPs of one pass.

    Args:
        config: of the model.
        prompts_Q: lengths of the prompts that are computed, each once.
        prompts_B: length of the prompt that each completion continues.
        completions_B: lengths of the completions.
    """
    layers, heads = products(config)
    tokens = float(np.sum(prompts_Q) + np.sum(completions_B))
    width = config.head_dim + (config.latent.value_dim if config.latent else config.head_dim)
    ends_B = prompts_B + completions_B
    pairs = sum(
        np.sum(_pairs(prompts_Q, window)) + np.sum(_pairs(ends_B, window) - _pairs(prompts_B, window))
        for window in config.layer_windows
    )
    attention = 2 * config.num_heads * width * float(pairs)
    return layers * tokens + heads * float(np.sum(completions_B)) + attention


def _pairs(lengths: np.ndarray, window: int) -> np.ndarray:
    """Positions that the tokens of texts see, themselves counted."""
    seen = np.minimum(lengths, window).astype(float) if window else lengths.astype(float)
    return seen * (seen + 1) / 2 + (lengths - seen) * seen
