"""Low-rank adapters (LoRA, arXiv 2106.09685): W + α/r · A·B, where W is frozen and A and B are trained.

Files are in PEFT's format. The adapters of weight `query` stand beside it as `query_lora_a` and `query_lora_b`.
"""

from __future__ import annotations

import functools
import json
import math
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors.numpy import save_file

from rl_reason.errors import UsageError, nearest
from rl_reason.models.config import Lora, ModelConfig
from rl_reason.models.families import part_of, tensor_name
from rl_reason.models.tensor_files import TensorFiles
from rl_reason.models.weights import NO_PROJECTIONS, Params, Weight, tree
from rl_reason.models.weights import table as weight_table
from rl_reason.parallel import hosts


def make_lora(config: ModelConfig, rank: int, alpha: float, targets: tuple[str, ...]) -> Lora:
    """Adapters of the layers that are named as PEFT names them, like "q_proj"; "all-linear": of all.

    Raises:
        UsageError: a name that no layer of the model has, or a rank or scale that cannot be.
    """
    if rank < 1:
        raise UsageError(f"config.model.lora_rank={rank}: expected a positive integer")
    if not alpha > 0:
        raise UsageError(f"config.model.lora_alpha={alpha}: expected more than 0")
    known = modules(config)
    if targets == ("all-linear",):
        targets = tuple(known)
    for name in targets:
        if name not in known:
            raise UsageError(f"config.model.lora_targets: {name!r}: no such layer{nearest(name, known)}")
    if not targets:
        raise UsageError(f"config.model.lora_targets=(): expected some of {', '.join(known)}")
    return Lora(rank, alpha, tuple(weight for name in targets for weight in known[name]))


def modules(config: ModelConfig) -> dict[str, list[str]]:
    """PEFT's name of each kind of layer that can have adapters → the weights that are called so."""
    names: dict[str, list[str]] = {}
    for (*_, name), weight in weight_table(config).items():
        if (
            weight.inputs
            and "experts" not in weight.axes
            and name not in NO_PROJECTIONS
            and not part_of(config.family, name)
        ):
            weights = names.setdefault(tensor_name(config.family, name, None).split(".")[-2], [])
            weights += [name] if name not in weights else []
    return names


def table(config: ModelConfig) -> dict[tuple[str, ...], Weight]:
    """The adapters by their path in the tree: A [L, inputs…, r], uniform as PEFT's, and B [L, r, outputs…], zeros."""
    assert config.lora is not None
    made: dict[tuple[str, ...], Weight] = {}
    for path, weight in weight_table(config).items():
        if path[-1] in config.lora.weights:
            n, rank = 1 + weight.inputs, config.lora.rank
            shape_a, axes_a = (*weight.shape[:n], rank), (*weight.axes[:n], "rank")
            shape_b = (weight.shape[0], rank, *weight.shape[n:])
            made[path[0], f"{path[-1]}_lora_a"] = Weight(shape_a, axes_a, "uniform")
            made[path[0], f"{path[-1]}_lora_b"] = Weight(shape_b, ("layers", "rank", *weight.axes[n:]), "zeros")
    return made


def join(frozen: Params, adapters: Params) -> Params:
    """All that the decoder reads, as one tree."""
    return {**frozen, **{stack: {**frozen[stack], **adapters[stack]} for stack in adapters}}


def merge(params: Params, adapters: Params, config: ModelConfig) -> Params:
    """The weights that compute the same without adapters, float32."""
    assert config.lora is not None
    scale, weights = config.lora.scale, weight_table(config)

    @functools.partial(jax.jit, donate_argnums=0)
    def add(weight: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
        rank = a.shape[-1]
        product = a.reshape(len(a), -1, rank) @ b.reshape(len(b), rank, -1)
        return weight + scale * product.reshape(weight.shape)

    merged = {path: functools.reduce(lambda node, name: node[name], path, params) for path in weights}
    for stack, layer in adapters.items():
        for name in {name.removesuffix("_lora_a") for name in layer if name.endswith("_lora_a")}:
            merged[stack, name] = add(merged[stack, name], layer[f"{name}_lora_a"], layer[f"{name}_lora_b"])
    return tree(merged)


def _files(config: ModelConfig) -> dict[str, tuple[tuple[str, ...], int, int]]:
    """Tensor of a PEFT file → (path of A or B, place in its stack, leading dimensions that are inputs)."""
    made = {}
    for path, weight in table(config).items():
        name, letter = path[-1].rsplit("_lora_", 1)
        inputs = len(weight.shape) - 2 if letter == "a" else 1
        for i, layer in enumerate(dict(config.stacks)[path[0]]):
            module = tensor_name(config.family, name, layer).removesuffix(".weight")
            made[f"base_model.model.{module}.lora_{letter.upper()}.weight"] = path, i, inputs
    return made


def save_adapters(folder: Path, config: ModelConfig, adapters: Params, base: str) -> None:
    """Writes `adapter_config.json` and `adapter_model.safetensors`, float32, which PEFT loads onto the base model.

    Args:
        folder: made if absent.
        config: the model with its adapters.
        adapters: float32.
        base: folder or name of the base model.
    """
    base = str(Path(base).expanduser().absolute()) if Path(base).expanduser().is_dir() else base
    lora = config.lora
    assert lora is not None
    arrays = {}
    for tensor, (path, layer, inputs) in _files(config).items():
        array = np.asarray(hosts.fetch(adapters[path[0]][path[1]][layer]))
        arrays[tensor] = np.ascontiguousarray(array.reshape(math.prod(array.shape[:inputs]), -1).T)
    if not hosts.is_first():
        return
    folder.mkdir(parents=True, exist_ok=True)
    names = [module for module, weights in modules(config).items() if weights[0] in lora.weights]
    described = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "r": lora.rank,
        "lora_alpha": lora.alpha, "lora_dropout": 0.0, "target_modules": names, "bias": "none",
        "fan_in_fan_out": False, "use_rslora": False, "use_dora": False, "inference_mode": True,
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(described, indent=2) + "\n")
    save_file(arrays, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    # safetensors makes files that only their owner can read.
    shutil.copymode(folder / "adapter_config.json", folder / "adapter_model.safetensors")


def read_lora(folder: Path, config: ModelConfig) -> Lora:
    """What `adapter_config.json` of a PEFT folder says.

    Raises:
        UsageError: no such file, or a kind of adapter that is not LoRA as it stands above.
    """
    file = folder / "adapter_config.json"
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"config.model.lora_path={str(folder)!r}: expected a PEFT folder: {error}") from None
    plain = {
        "peft_type": ("LORA",), "bias": ("none",), "use_dora": (False,), "use_rslora": (False,),
        "init_lora_weights": (True, False, "gaussian", "eva"),
        "fan_in_fan_out": (False,), "modules_to_save": ([],), "rank_pattern": ({},), "alpha_pattern": ({},),
    }  # fmt: skip
    for key, allowed in plain.items():
        if said.get(key) is not None and said[key] not in allowed:
            raise UsageError(f"{file}: {key}={said[key]!r}: expected {allowed[0]!r}")
    targets = said.get("target_modules")
    targets = (targets,) if isinstance(targets, str) else tuple(targets or ())
    try:
        return make_lora(config, said.get("r", 0), float(said.get("lora_alpha", 0)), targets)
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from None


def load_adapters(folder: Path, config: ModelConfig, shardings: Params) -> Params:
    """The adapters of a PEFT folder, float32, on the mesh.

    Raises:
        UsageError: a tensor is missing, has another shape, or holds what is no finite number.
    """
    tensors = TensorFiles(folder)
    extra = tensors.names - set(_files(config))
    if extra:
        raise UsageError(f"{folder}: tensor {min(extra)!r} belongs to no adapter that adapter_config.json tells of")
    weights = table(config)
    whole = {path: np.empty(weight.shape, np.float32) for path, weight in weights.items()}
    for tensor, (path, layer, inputs) in _files(config).items():
        shape = weights[path].shape[1:]
        file_shape = (math.prod(shape[inputs:]), math.prod(shape[:inputs]))
        whole[path][layer] = tensors.read(tensor, file_shape, (slice(None), slice(None))).T.reshape(shape)
    placed: dict[tuple[str, ...], Any] = {
        path: hosts.place(array, shardings[path[0]][path[1]]) for path, array in whole.items()
    }
    return tree(placed)


def describe(config: ModelConfig) -> str:
    """For the line that a run starts with."""
    assert config.lora is not None
    count = sum(weight.size for weight in table(config).values())
    return f"adapters of rank {config.lora.rank}: {count / 1e6:.2f}M parameters are trained"
