"""The decoder's settings: what `config.json` of any family comes down to (`models.families`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rl_reason.errors import UsageError
from rl_reason.models.rope import Rope


@dataclass(frozen=True)
class Latent:
    """Multi-head latent attention (arXiv 2405.04434, section 2.1): keys and values from one short vector."""

    query_rank: int
    """Width of the compressed query; 0: queries come straight from the hidden state."""
    rank: int
    """Width of the compressed key and value, which is what the cache holds."""
    plain_dim: int
    """Width of a head's query and key that carries no position."""
    rope_dim: int
    """Width that does; its key is shared by all heads."""
    value_dim: int


@dataclass(frozen=True)
class Experts:
    """A mixture of experts in place of the MLP."""

    count: int
    per_token: int
    width: int
    """Intermediate size of an expert."""
    shared_width: int = 0
    """Intermediate size of the experts that every token passes, taken as one; 0: none."""
    first_dense: int = 0
    """So many layers at the bottom have an MLP instead."""
    score: str = "softmax"
    """"softmax" over all experts, or "sigmoid" of each with a bias that counts for the choice only (DeepSeek-V3)."""
    normalize: bool = True
    """Whether the weights of the chosen ones are divided by their sum."""
    scale: float = 1.0
    groups: int = 1
    kept_groups: int = 1
    """Experts are chosen from the best so many of `groups` groups (arXiv 2405.04434, section 2.2.2)."""

    def __post_init__(self):
        if self.count % self.groups or not 1 <= self.kept_groups <= self.groups:
            raise UsageError(
                f"config.json: {self.kept_groups} of {self.groups} groups of {self.count} experts: expected groups of "
                "equal size"
            )
        most = self.count // self.groups * self.kept_groups
        if not 1 <= self.per_token <= most:
            raise UsageError(f"config.json: num_experts_per_tok={self.per_token}: expected 1 to {most}")


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters (`models.lora`)."""

    rank: int
    alpha: float
    weights: tuple[str, ...]
    """Names of the weights that have them."""

    @property
    def scale(self) -> float:
        return self.alpha / self.rank


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and switches of a decoder: RMSNorm, rotary embeddings, grouped-query attention, gated MLP."""

    family: str
    """`model_type` of the Hugging Face files: a key of `models.families.FAMILIES`."""
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    ropes: tuple[Rope, ...]
    layer_ropes: tuple[int, ...]
    """Which of `ropes` each layer has; −1: none (NoPE, arXiv 2305.19466)."""
    layer_windows: tuple[int, ...]
    """How many tokens each layer sees, the present one counted (arXiv 2004.05150); 0: all earlier ones."""
    rms_norm_eps: float = 1e-6
    norm_offset: float = 0.0
    """Added to the scale of a norm: Gemma's start at 0."""
    pre_norm: bool = True
    """Norms on what goes into attention and MLP."""
    post_norm: bool = False
    """Norms on what comes out of them."""
    qkv_bias: bool = False
    qk_norm: str = ""
    """Norm of queries and keys: "" none, "head" each head by itself, "all" all heads as one vector."""
    activation: str = "silu"
    """Of the gated MLP: "silu" or "gelu_tanh"."""
    embed_scale: float = 1.0
    query_scale: float = 0.0
    """Of attention's scores; 0: 1/√head_dim."""
    attention_softcap: float = 0.0
    """Scores become cap · tanh(score / cap) (Gemma 2, arXiv 2408.00118, section 2); 0: no cap."""
    final_softcap: float = 0.0
    """The same for the logits."""
    latent: Latent | None = None
    experts: Experts | None = None
    lora: Lora | None = None
    heads: tuple[str, ...] = ("vocabulary",)
    """Last layers: "vocabulary" gives logits, "score" one number of a token, a reward or a value."""
    tie_embeddings: bool = True
    initializer_range: float = 0.02
    max_positions: int = 32_768
    hf: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """What `config.json` said; written back on export."""

    def __post_init__(self):
        for one in dataclasses.fields(self):
            value = getattr(self, one.name)
            if one.type == "int" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise UsageError(f"config.json: {one.name}={value!r}: expected a positive integer")
        if self.num_heads % self.num_kv_heads:
            raise UsageError(
                f"config.json: num_key_value_heads={self.num_kv_heads}: expected a divisor of "
                f"num_attention_heads={self.num_heads}"
            )
        if self.head_dim % 2:
            raise UsageError(f"config.json: head_dim={self.head_dim}: expected an even number (rotary pairs)")

    @property
    def cached(self) -> tuple[int, int, int]:
        """What the cache holds of a token in a layer: (heads, width of a key, width of a value)."""
        if self.latent:
            return 1, self.latent.rank + self.latent.rope_dim, self.latent.rank
        return self.num_kv_heads, self.head_dim, self.head_dim

    @property
    def stacks(self) -> tuple[tuple[str, range], ...]:
        """Layers with the same weights, by the name of their tree: (name, numbers of the layers), bottom first."""
        dense = self.experts.first_dense if self.experts else 0
        stacks = (("dense_layers", range(dense)), ("layers", range(dense, self.num_layers)))
        return tuple((name, layers) for name, layers in stacks if layers)

    def has_experts(self, layer: int) -> bool:
        return self.experts is not None and layer >= self.experts.first_dense
