"""The decoder's settings: a model family is a row of these."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from rl_reason.errors import UsageError, nearest


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and switches of a decoder: RMSNorm, rotary embeddings, grouped-query attention, SwiGLU."""

    family: str
    """Layout of the Hugging Face files: a key of `models.huggingface.FAMILIES`."""
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rope_theta: float = 10_000.0
    rms_norm_eps: float = 1e-6
    qkv_bias: bool = False
    qk_norm: bool = False
    tie_embeddings: bool = True
    initializer_range: float = 0.02
    max_positions: int = 32_768

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == "int" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise UsageError(f"model.{field.name}={value!r}: expected a positive integer")
        if self.num_heads % self.num_kv_heads:
            raise UsageError(
                f"model.num_kv_heads={self.num_kv_heads}: expected a divisor of num_heads={self.num_heads}"
            )
        if self.head_dim % 2:
            raise UsageError(f"model.head_dim={self.head_dim}: expected an even number (rotary embeddings turn pairs)")

    @classmethod
    def from_shape(cls, shape: dict, vocab_size: int) -> ModelConfig:
        """The config of a model that starts from random weights: `shape` gives all but the vocabulary."""
        names = {f.name for f in dataclasses.fields(cls)} - {"vocab_size"}
        for key in shape:
            if key not in names:
                raise UsageError(f"config.model.shape.{key}: unknown key{nearest(key, names)}")
        try:
            return cls(vocab_size=vocab_size, **shape)
        except TypeError as error:
            raise UsageError(f"config.model.shape: {error}") from error
