"""Hugging Face folders: `config.json` and safetensors files, read straight onto a mesh and written back.

A family is a row of `FAMILIES`: which settings its config has and what its tensors are called. Every tensor is
read by slices, so a host touches only the bytes of its own shards. Pickle files are never opened.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from rl_reason.errors import UsageError
from rl_reason.models.config import ModelConfig
from rl_reason.models.weights import Params, table, tree
from rl_reason.parallel import hosts

MAX_FILE_BYTES = 5 * 2**30


@dataclass(frozen=True)
class Family:
    architecture: str
    settings: Callable[[dict], dict]
    """What of the family's config is not common to all: fields of `ModelConfig`. Raises for what is not supported."""
    extra_config: dict
    """What `config.json` says for the family beyond the common fields."""


def _refuse(hf: dict, key: str, allowed: tuple, meaning: str) -> None:
    if hf.get(key, allowed[0]) not in allowed:
        raise UsageError(f"config.json: {key}={hf[key]!r}: {meaning}")


def _qwen2(hf: dict) -> dict:
    _refuse(hf, "use_sliding_window", (False,), "sliding-window attention is not supported in this family")
    return {"qkv_bias": True}


def _llama(hf: dict) -> dict:
    _refuse(hf, "attention_bias", (False,), "biases in attention are not supported in this family")
    _refuse(hf, "mlp_bias", (False,), "biases in the MLP are not supported in this family")
    return {}


def _qwen3(hf: dict) -> dict:
    _refuse(hf, "attention_bias", (False,), "biases in attention are not supported in this family")
    return _qwen2(hf) | {"qkv_bias": False, "qk_norm": True}


FAMILIES = {
    "llama": Family("LlamaForCausalLM", _llama, {"attention_bias": False, "mlp_bias": False}),
    "qwen2": Family("Qwen2ForCausalLM", _qwen2, {"use_sliding_window": False}),
    "qwen3": Family("Qwen3ForCausalLM", _qwen3, {"attention_bias": False, "use_sliding_window": False}),
}

_NAMES = {
    "embed": "model.embed_tokens.weight",
    "final_norm": "model.norm.weight",
    "head": "lm_head.weight",
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
}
_LINEAR_INPUTS = {"query": 1, "key": 1, "value": 1, "output": 2, "gate": 1, "up": 1, "down": 1}
"""Linear layers and how many leading dimensions of a layer's weight are inputs: files hold [outputs, inputs]."""


def local_folder(path: str) -> Path:
    """The folder of a model: `path` itself, or the snapshot of a Hugging Face name, downloaded where needed."""
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    if path.startswith((".", "/", "~")) or path.count("/") != 1:
        raise UsageError(f"config.model.path={path!r}: no such folder (and no Hugging Face name, which is owner/model)")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(path, allow_patterns=["*.json", "*.safetensors", "*.model", "*.jinja", "*.txt"]))
    except Exception as error:  # the hub raises many kinds; all of them mean that the model is not there
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"config.model.path={path!r}: no such folder, and the model hub did not give it: {reason}"
        ) from error


def read_config(folder: Path) -> ModelConfig:
    """The decoder's settings from `config.json`."""
    file = folder / "config.json"
    if not file.is_file():
        raise UsageError(f"config.model.path={str(folder)!r}: expected a Hugging Face folder with config.json")
    try:
        loaded = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{file}: expected JSON: {error}") from None
    if not isinstance(loaded, dict):
        raise UsageError(f"{file}: expected a JSON object, found {type(loaded).__name__}")
    hf: dict[str, Any] = loaded
    family = hf.get("model_type")
    if family not in FAMILIES:
        raise UsageError(f"{file}: model_type={family!r}: unknown family; known: {', '.join(sorted(FAMILIES))}")
    for key in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"):
        if key not in hf:
            raise UsageError(f"{file}: {key!r} is missing")
    rope = hf.get("rope_parameters") or hf.get("rope_scaling") or {}
    rope_type = rope.get("rope_type", rope.get("type", "default"))
    if rope_type != "default":
        raise UsageError(f"{file}: rope_type={rope_type!r}: expected 'default'")
    if hf.get("hidden_act", "silu") != "silu":
        raise UsageError(f"{file}: hidden_act={hf['hidden_act']!r}: expected 'silu'")
    return ModelConfig(
        family=family,
        vocab_size=hf["vocab_size"],
        hidden_size=hf["hidden_size"],
        intermediate_size=hf["intermediate_size"],
        num_layers=hf["num_hidden_layers"],
        num_heads=hf["num_attention_heads"],
        num_kv_heads=hf.get("num_key_value_heads") or hf["num_attention_heads"],
        head_dim=hf.get("head_dim") or hf["hidden_size"] // hf["num_attention_heads"],
        rope_theta=float(rope.get("rope_theta", hf.get("rope_theta", 10_000.0))),
        rms_norm_eps=hf.get("rms_norm_eps", 1e-6),
        tie_embeddings=hf.get("tie_word_embeddings", False),
        initializer_range=hf.get("initializer_range", 0.02),
        max_positions=hf.get("max_position_embeddings", 32_768),
        **FAMILIES[family].settings(hf),
    )


def _file_name(path: tuple[str, ...], layer: int | None) -> str:
    name = _NAMES[path[-1]]
    return name if layer is None else f"model.layers.{layer}.{name}"


class _Tensors:
    """Slices of named tensors from the safetensors files of a folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        # The index, where there is one, says which files count: folders may hold other weights beside the model's.
        index = folder / "model.safetensors.index.json"
        if index.is_file():
            files = [folder / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
        else:
            files = sorted(folder.glob("*.safetensors"))
        if not files:
            found = ", ".join(sorted(p.name for p in folder.glob("*.bin")))
            hint = f" (found {found}: pickle files can run code and are never opened)" if found else ""
            raise UsageError(f"config.model.path={str(folder)!r}: expected *.safetensors files{hint}")
        try:
            self.open = [safe_open(file, framework="numpy") for file in files]
        except Exception as error:
            raise UsageError(f"config.model.path={str(folder)!r}: unreadable safetensors file: {error}") from error
        self.where = {name: handle for handle in self.open for name in handle.keys()}

    def check(self, name: str, shape: tuple[int, ...]) -> Any:
        """The tensor's slice object; raises where it is missing or has another shape."""
        if name not in self.where:
            raise UsageError(f"{self.folder}: tensor {name!r} is missing")
        piece = self.where[name].get_slice(name)
        if tuple(piece.get_shape()) != shape:
            raise UsageError(
                f"{self.folder}: tensor {name!r} has shape {tuple(piece.get_shape())}, config.json says {shape}"
            )
        return piece

    def get(self, name: str, index: tuple[slice, ...], shape: tuple[int, ...]) -> np.ndarray:
        return self.check(name, shape)[index]


def check_files(folder: Path, config: ModelConfig) -> None:
    """Raises `UsageError` unless the folder's safetensors files hold every weight in its shape. Reads headers only."""
    tensors = _Tensors(folder)
    for path, weight in table(config).items():
        stacked = path[0] == "layers"
        shape = _file_shape(path[-1], weight.shape[stacked:])
        for layer in range(weight.shape[0]) if stacked else [None]:
            tensors.check(_file_name(path, layer), shape)


def _file_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape in the file of one layer's weight: linear layers are [outputs, inputs], biases flat."""
    if name.endswith("_bias"):  # [heads · head_dim] in the file
        return (math.prod(shape),)
    inputs = _LINEAR_INPUTS.get(name, 0)
    return (math.prod(shape[inputs:]), math.prod(shape[:inputs])) if inputs else shape


def _read_slice(tensors: _Tensors, config: ModelConfig, path: tuple[str, ...], index: tuple[slice, ...]) -> np.ndarray:
    """Part `index` of a weight of the table, float32, read from the files that hold it."""
    shape = table(config)[path].shape
    bounds = [slice(*s.indices(n)[:2]) for s, n in zip(index, shape, strict=True)]
    if path[0] != "layers":
        return _read_layer(tensors, _file_name(path, None), path[-1], shape, bounds)
    layers = range(bounds[0].start, bounds[0].stop)
    return np.stack([_read_layer(tensors, _file_name(path, i), path[-1], shape[1:], bounds[1:]) for i in layers])


def _read_layer(
    tensors: _Tensors, file_name: str, name: str, shape: tuple[int, ...], bounds: list[slice]
) -> np.ndarray:
    """A slice of one tensor, from the file's [outputs, inputs] to the table's [inputs…, outputs…]."""
    inputs = _LINEAR_INPUTS.get(name, 0)
    file_shape = _file_shape(name, shape)
    if file_shape == shape:
        return np.asarray(tensors.get(file_name, tuple(bounds), file_shape)).astype(np.float32)

    def flat(dims: tuple[int, ...], cuts: list[slice]) -> tuple[slice, tuple[slice, ...], tuple[int, ...]]:
        """Range of a flattened group of dimensions that covers the cut along its first one, and the rest of the cut."""
        stride = math.prod(dims[1:])
        rows = cuts[0].stop - cuts[0].start
        return slice(cuts[0].start * stride, cuts[0].stop * stride), (slice(None), *cuts[1:]), (rows, *dims[1:])

    if not inputs:
        flat_range, rest, local = flat(shape, bounds)
        return np.asarray(tensors.get(file_name, (flat_range,), file_shape)).astype(np.float32).reshape(local)[rest]
    in_range, in_rest, in_local = flat(shape[:inputs], bounds[:inputs])
    out_range, out_rest, out_local = flat(shape[inputs:], bounds[inputs:])
    piece = np.asarray(tensors.get(file_name, (out_range, in_range), file_shape)).astype(np.float32)
    return piece.T.reshape(*in_local, *out_local)[in_rest + out_rest]


def load_params(folder: Path, config: ModelConfig, shardings: Params) -> Params:
    """The float32 master weights of a folder, each shard read from its byte range.

    Args:
        folder: holds *.safetensors in float32, float16 or bfloat16.
        config: from `read_config`.
        shardings: a tree as `weights.tree` makes it, of `jax.sharding.Sharding`.
    """
    tensors = _Tensors(folder)
    leaves: dict[tuple[str, ...], Any] = {}
    for path, weight in table(config).items():
        place: Any = shardings
        for name in path:
            place = place[name]
        read = functools.partial(_read_slice, tensors, config, path)
        leaves[path] = jax.make_array_from_callback(weight.shape, place, read)
    return tree(leaves)


def hf_config(config: ModelConfig, dtype: str) -> dict:
    """The content of `config.json`."""
    family = FAMILIES[config.family]
    return {
        "architectures": [family.architecture],
        "model_type": config.family,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "tie_word_embeddings": config.tie_embeddings,
        "initializer_range": config.initializer_range,
        "max_position_embeddings": config.max_positions,
        "torch_dtype": dtype,
        **family.extra_config,
    }


def save_params(folder: Path, config: ModelConfig, params: Params, dtype: str = "bfloat16") -> None:
    """Writes `config.json` and safetensors files of at most 5 GiB with an index, in the family's layout.

    On several hosts all take part and the first one writes. It holds one file's tensors at a time.
    """
    numpy_dtype = np.dtype({"bfloat16": ml_dtypes.bfloat16, "float32": np.float32}[dtype])
    files: list[dict[str, tuple[tuple[str, ...], int | None]]] = [{}]
    size = total = 0
    for path, weight in table(config).items():
        stacked = path[0] == "layers"
        nbytes = math.prod(weight.shape[stacked:]) * numpy_dtype.itemsize
        for layer in range(weight.shape[0]) if stacked else [None]:
            if size + nbytes > MAX_FILE_BYTES and files[-1]:
                files.append({})
                size = 0
            files[-1][_file_name(path, layer)] = path, layer
            size, total = size + nbytes, total + nbytes

    if len(files) == 1:
        names = ["model.safetensors"]
    else:
        names = [f"model-{i + 1:05d}-of-{len(files):05d}.safetensors" for i in range(len(files))]
    for file, tensors in zip(names, files, strict=True):
        arrays = {name: _to_file(params, path, layer, numpy_dtype) for name, (path, layer) in tensors.items()}
        if hosts.is_first():
            folder.mkdir(parents=True, exist_ok=True)
            save_file(arrays, folder / file, metadata={"format": "pt"})
    if hosts.is_first():
        (folder / "config.json").write_text(json.dumps(hf_config(config, dtype), indent=2) + "\n")
        if len(files) > 1:
            where = {name: file for file, tensors in zip(names, files, strict=True) for name in tensors}
            index = {"metadata": {"total_size": total}, "weight_map": where}
            (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def _to_file(params: Params, path: tuple[str, ...], layer: int | None, dtype: np.dtype) -> np.ndarray:
    """A tensor as a file holds it: of one layer, with two dimensions where it is a linear layer's."""
    value: Any = functools.reduce(lambda node, name: node[name], path, params)
    array = np.asarray(hosts.fetch((value if layer is None else value[layer]).astype(dtype)))
    inputs = _LINEAR_INPUTS.get(path[-1], 0)
    if inputs:
        array = array.reshape(math.prod(array.shape[:inputs]), -1).T
    elif path[-1].endswith("_bias"):
        array = array.reshape(-1)
    return np.ascontiguousarray(array)


def abstract_params(config: ModelConfig, shardings: Params) -> Params:
    """Shapes, dtypes and shardings of the master weights: for checkpoints and compiling ahead of time."""
    leaves = {path: jax.ShapeDtypeStruct(weight.shape, jnp.float32) for path, weight in table(config).items()}
    return jax.tree.map(
        lambda s, place: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=place), tree(leaves), shardings
    )
