"""Model families: a row of settings and a map of tensor names for each, over one decoder."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rl_reason.errors import UsageError, nearest
from rl_reason.models.config import Experts, Latent, ModelConfig
from rl_reason.models.rope import make_rope, yarn_scale

Read = Callable[[Mapping[str, Any]], dict[str, Any]]


class Part(NamedTuple):
    """The tensor of a weight that shares it with others."""

    tensor: str
    of: tuple[str, ...]
    """All weights of the tensor, in the order of their rows."""


@dataclass(frozen=True)
class Family:
    architecture: str
    settings: Read = lambda c: {}
    """Fields of `ModelConfig` that differ from the common ones. Raises for what is not supported."""
    names: Mapping[str, str | Part] = field(default_factory=dict)
    """Weights whose tensors are called otherwise than in `NAMES`."""


NAMES: dict[str, str | Part] = {
    "embed": "model.embed_tokens.weight",
    "final_norm": "model.norm.weight",
    "head": "lm_head.weight",
    "score": "score.weight",
    "attention_norm": "input_layernorm.weight",
    "query": "self_attn.q_proj.weight",
    "key": "self_attn.k_proj.weight",
    "value": "self_attn.v_proj.weight",
    "query_bias": "self_attn.q_proj.bias",
    "key_bias": "self_attn.k_proj.bias",
    "value_bias": "self_attn.v_proj.bias",
    "query_norm": "self_attn.q_norm.weight",
    "key_norm": "self_attn.k_norm.weight",
    "output": "self_attn.o_proj.weight",
    "mlp_norm": "post_attention_layernorm.weight",
    "gate": "mlp.gate_proj.weight",
    "up": "mlp.up_proj.weight",
    "down": "mlp.down_proj.weight",
    "router": "mlp.gate.weight",
    "expert_gate": "mlp.experts.{expert}.gate_proj.weight",
    "expert_up": "mlp.experts.{expert}.up_proj.weight",
    "expert_down": "mlp.experts.{expert}.down_proj.weight",
}
"""Weight → tensor; those of a layer stand behind `model.layers.{layer}.`."""


def _refuse(c: Mapping, key: str, allowed: tuple, meaning: str) -> None:
    if c.get(key) is not None and c[key] not in allowed:
        raise UsageError(f"config.json: {key}={c[key]!r}: {meaning}")


def _no_biases(c: Mapping) -> None:
    _refuse(c, "attention_bias", (False,), "biases in attention are not supported in this family")
    _refuse(c, "mlp_bias", (False,), "biases in the MLP are not supported in this family")


def _llama(c: Mapping) -> dict:
    _no_biases(c)
    return {}


def _qwen2(c: Mapping) -> dict:
    return {"qkv_bias": True}


def _qwen3(c: Mapping) -> dict:
    _no_biases(c)
    return {"qk_norm": "head"}


def _olmo2(c: Mapping) -> dict:
    _no_biases(c)
    return {"qk_norm": "all", "pre_norm": False, "post_norm": True}


def _smollm3(c: Mapping) -> dict:
    _no_biases(c)
    return {"layer_ropes": tuple(0 if has_rope else -1 for has_rope in c["no_rope_layers"])}


def _gemma(c: Mapping) -> dict:
    _no_biases(c)
    _refuse(c, "use_bidirectional_attention", (False,), "only causal attention is supported")
    return {
        "activation": _activation(c["hidden_activation"]),
        "norm_offset": 1.0,
        "post_norm": True,
        "embed_scale": math.sqrt(c["hidden_size"]),
        "query_scale": c["query_pre_attn_scalar"] ** -0.5,
        "attention_softcap": c.get("attn_logit_softcapping") or 0.0,
        "final_softcap": c.get("final_logit_softcapping") or 0.0,
    }


def _gemma3(c: Mapping) -> dict:
    kinds = ("sliding_attention", "full_attention")
    ropes = tuple(make_rope(c["rope_parameters"][kind], c["head_dim"], c["max_position_embeddings"]) for kind in kinds)
    return _gemma(c) | {
        "qk_norm": "head",
        "ropes": ropes,
        "layer_ropes": tuple(kinds.index(kind) for kind in c["layer_types"]),
    }


def _mixtral(c: Mapping) -> dict:
    return {"experts": Experts(c["num_local_experts"], c["num_experts_per_tok"], c["intermediate_size"])}


def _qwen3_moe(c: Mapping) -> dict:
    _refuse(c, "mlp_only_layers", ([], ()), "layers without experts are not supported in this family")
    _refuse(c, "decoder_sparse_step", (1,), "layers without experts are not supported in this family")
    count = c.get("num_experts") or c["num_local_experts"]
    experts = Experts(count, c["num_experts_per_tok"], c["moe_intermediate_size"], normalize=bool(c["norm_topk_prob"]))
    return _qwen3(c) | {"experts": experts}


def _deepseek(c: Mapping) -> dict:
    _no_biases(c)
    rope = c["rope_parameters"]
    latent = Latent(
        query_rank=c["q_lora_rank"] or 0,
        rank=c["kv_lora_rank"],
        plain_dim=c["qk_nope_head_dim"],
        rope_dim=c["qk_rope_head_dim"],
        value_dim=c["v_head_dim"],
    )
    # YaRN's temperature once more: DeepSeek applies it to the scores, not only to the turned dimensions.
    stretched = rope.get("rope_type", "default") != "default" and rope.get("mscale_all_dim")
    temperature = yarn_scale(rope["factor"], rope["mscale_all_dim"]) if stretched else 1.0
    is_v3 = c["model_type"] == "deepseek_v3"
    in_groups = is_v3 or c["topk_method"] == "group_limited_greedy"
    if is_v3:
        _refuse(c, "scoring_func", ("sigmoid",), "expected 'sigmoid'")
    else:
        _refuse(c, "scoring_func", ("softmax",), "expected 'softmax'")
        _refuse(c, "topk_method", ("greedy", "group_limited_greedy"), "expected 'greedy' or 'group_limited_greedy'")
    return {
        # Interleaved in the files of both; V3's config can say otherwise.
        "ropes": (make_rope(rope, latent.rope_dim, c["max_position_embeddings"], c.get("rope_interleave", True)),),
        "num_kv_heads": c["num_attention_heads"],
        "head_dim": latent.plain_dim + latent.rope_dim,
        "query_scale": (latent.plain_dim + latent.rope_dim) ** -0.5 * temperature**2,
        "latent": latent,
        "experts": Experts(
            count=c["n_routed_experts"],
            per_token=c["num_experts_per_tok"],
            width=c["moe_intermediate_size"],
            shared_width=c["moe_intermediate_size"] * (c["n_shared_experts"] or 0),
            first_dense=min(c["first_k_dense_replace"], c["num_hidden_layers"]),
            score="sigmoid" if is_v3 else "softmax",
            normalize=bool(c["norm_topk_prob"]),
            scale=c["routed_scaling_factor"],
            groups=(c["n_group"] or 1) if in_groups else 1,
            kept_groups=(c["topk_group"] or 1) if in_groups else 1,
        ),
    }


_QKV, _GATE_UP = ("query", "key", "value"), ("gate", "up")
_GEMMA_NORMS: dict[str, str | Part] = {
    "attention_post_norm": "post_attention_layernorm.weight",
    "mlp_norm": "pre_feedforward_layernorm.weight",
    "mlp_post_norm": "post_feedforward_layernorm.weight",
}
_DEEPSEEK_NAMES: dict[str, str | Part] = {
    "query_down": "self_attn.q_a_proj.weight",
    "query_down_norm": "self_attn.q_a_layernorm.weight",
    "query_up": "self_attn.q_b_proj.weight",
    "latent_down": "self_attn.kv_a_proj_with_mqa.weight",
    "latent_norm": "self_attn.kv_a_layernorm.weight",
    "latent_up": "self_attn.kv_b_proj.weight",
    "router_bias": "mlp.gate.e_score_correction_bias",
    "shared_gate": "mlp.shared_experts.gate_proj.weight",
    "shared_up": "mlp.shared_experts.up_proj.weight",
    "shared_down": "mlp.shared_experts.down_proj.weight",
}

FAMILIES = {
    "llama": Family("LlamaForCausalLM", _llama),
    "mistral": Family("MistralForCausalLM"),
    "qwen2": Family("Qwen2ForCausalLM", _qwen2),
    "qwen3": Family("Qwen3ForCausalLM", _qwen3),
    "gemma2": Family("Gemma2ForCausalLM", _gemma, _GEMMA_NORMS),
    "gemma3_text": Family("Gemma3ForCausalLM", _gemma3, _GEMMA_NORMS),
    "phi3": Family(
        "Phi3ForCausalLM",
        names=dict.fromkeys(_QKV, Part("self_attn.qkv_proj.weight", _QKV))
        | dict.fromkeys(_GATE_UP, Part("mlp.gate_up_proj.weight", _GATE_UP)),
    ),
    "olmo2": Family(
        "Olmo2ForCausalLM",
        _olmo2,
        {name: _GEMMA_NORMS[name] for name in ("attention_post_norm", "mlp_post_norm")},
    ),
    "smollm3": Family("SmolLM3ForCausalLM", _smollm3),
    "mixtral": Family(
        "MixtralForCausalLM",
        _mixtral,
        {
            "router": "block_sparse_moe.gate.weight",
            "expert_gate": "block_sparse_moe.experts.{expert}.w1.weight",
            "expert_up": "block_sparse_moe.experts.{expert}.w3.weight",
            "expert_down": "block_sparse_moe.experts.{expert}.w2.weight",
        },
    ),
    "qwen3_moe": Family("Qwen3MoeForCausalLM", _qwen3_moe),
    "deepseek_v2": Family("DeepseekV2ForCausalLM", _deepseek, _DEEPSEEK_NAMES),
    "deepseek_v3": Family("DeepseekV3ForCausalLM", _deepseek, _DEEPSEEK_NAMES),
}
"""`model_type` → how it is read. Llama covers DeepSeek-LLM and R1-Distill-Llama, Qwen2 also Qwen2.5, Qwen2.5-Math and
R1-Distill-Qwen, Phi-3 also Phi-4, DeepSeek-V3 also R1."""

_NEEDED = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")


def _activation(name: str) -> str:
    known = {"silu": "silu", "gelu_pytorch_tanh": "gelu_tanh"}
    if name not in known:
        raise UsageError(f"config.json: hidden_act={name!r}: expected one of {', '.join(known)}")
    return known[name]


def read_config(folder: Path) -> ModelConfig:
    """The decoder's settings from the `config.json` of a Hugging Face folder.

    Raises:
        UsageError: no such file, a family that is not known, or a setting that is not supported.
    """
    file = folder / "config.json"
    if not file.is_file():
        raise UsageError(f"config.model.path={str(folder)!r}: expected a Hugging Face folder with config.json")
    try:
        hf = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{file}: expected JSON: {error}") from None
    if not isinstance(hf, dict):
        raise UsageError(f"{file}: expected a JSON object, found {type(hf).__name__}")
    try:
        return model_config(hf)
    except UsageError as error:
        raise UsageError(str(error).replace("config.json", str(file), 1)) from error


def model_config(hf: Mapping[str, Any]) -> ModelConfig:
    """The decoder's settings from the content of a `config.json`.

    Raises:
        UsageError: names the key.
    """
    name = hf.get("model_type")
    if name not in FAMILIES:
        raise UsageError(f"config.json: model_type={name!r}: unknown family; known: {', '.join(sorted(FAMILIES))}")
    for key in _NEEDED:
        if key not in hf:
            raise UsageError(f"config.json: {key!r} is missing")
    c = _complete(hf)
    heads, layers = c["num_attention_heads"], c["num_hidden_layers"]
    head_dim = c.get("head_dim") or c["hidden_size"] // heads
    types = c.get("layer_types") or ["sliding_attention"] * layers
    # Where a family has no windows, such a key means nothing.
    window = c["sliding_window"] or 0 if "sliding_window" in _complete({"model_type": name}) else 0
    common = {
        "family": name,
        "vocab_size": c["vocab_size"],
        "hidden_size": c["hidden_size"],
        "intermediate_size": c["intermediate_size"],
        "num_layers": layers,
        "num_heads": heads,
        "num_kv_heads": c.get("num_key_value_heads") or heads,
        "head_dim": head_dim,
        "layer_ropes": (0,) * layers,
        "layer_windows": tuple(window if kind == "sliding_attention" else 0 for kind in types),
        "rms_norm_eps": c["rms_norm_eps"],
        "tie_embeddings": bool(c.get("tie_word_embeddings", False)),
        "initializer_range": c.get("initializer_range", 0.02),
        "max_positions": c["max_position_embeddings"],
        "hf": dict(hf),
    }
    if "hidden_act" in c:
        common["activation"] = _activation(c["hidden_act"])
    own = FAMILIES[name].settings(c)
    if "ropes" not in own:
        rope = c["rope_parameters"]
        dims = int(head_dim * rope.get("partial_rotary_factor", 1.0))
        own["ropes"] = (make_rope(rope, dims, c["max_position_embeddings"]),)
    return ModelConfig(**(common | own))


def from_shape(shape: Mapping[str, Any], vocab_size: int) -> ModelConfig:
    """The settings of a model that starts from random weights.

    Args:
        shape: keys of a `config.json`, `model_type` among them, without the vocabulary.
        vocab_size: of the tokenizer.

    Raises:
        UsageError: names the key of `config.model.shape`.
    """
    if "vocab_size" in shape:
        raise UsageError("config.model.shape.vocab_size: expected no such key; config.model.tokenizer_size gives it")
    try:
        config = model_config({**shape, "vocab_size": vocab_size})
    except UsageError as error:
        raise UsageError(str(error).replace("config.json: ", "config.model.shape: ", 1)) from error
    # What is read above without being a field of every family's config.
    known = {*_complete({"model_type": config.family}), "rope_theta", "rope_scaling", "head_dim", "num_experts"}
    for key in shape:
        if key not in known:
            raise UsageError(f"config.model.shape.{key}={shape[key]!r}: unknown key{nearest(key, known)}")
    return config


def _complete(hf: Mapping[str, Any]) -> dict[str, Any]:
    """The config with all keys, in today's spelling: older folders write `rope_scaling` and the like their own way."""
    from transformers import AutoConfig

    try:
        return AutoConfig.for_model(**{key: value for key, value in hf.items() if key != "auto_map"}).to_dict()
    except Exception as error:  # transformers checks the values and raises many kinds
        raise UsageError(f"config.json: {' '.join(str(error).split())[:200]}") from error


def tensor_name(family: str, weight: str, layer: int | None, expert: int | None = None) -> str:
    """What the tensor is called that holds a weight, or a part of it, of a layer and an expert."""
    part = (NAMES | dict(FAMILIES[family].names))[weight]
    name = (part.tensor if isinstance(part, Part) else part).replace("{expert}", str(expert))
    return name if layer is None else f"model.layers.{layer}.{name}"


def part_of(family: str, weight: str) -> Part | None:
    """The tensor that a weight shares with others, where it does."""
    part = FAMILIES[family].names.get(weight)
    return part if isinstance(part, Part) else None
