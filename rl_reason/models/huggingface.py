"""Weights from Hugging Face folders straight onto a mesh, and back: every shard is read from its own bytes."""

from __future__ import annotations

import functools
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
from jax.sharding import Sharding
from jax.typing import DTypeLike
from safetensors.numpy import save_file

from rl_reason.errors import UsageError
from rl_reason.models.config import ModelConfig
from rl_reason.models.families import FAMILIES, part_of, tensor_name
from rl_reason.models.tensor_files import TensorFiles
from rl_reason.models.weights import SCORE, Params, Weight, dtype_of, table, tree
from rl_reason.parallel import hosts
from rl_reason.runtime.workdir import write_atomic

MAX_FILE_BYTES = 5 * 2**30
THREADS = min(16, os.cpu_count() or 1)
"""That read weights."""
ALIGNMENT = 64
"""Bytes at whose multiples memory must begin that jax shares with numpy."""
DTYPES = {"bfloat16": ml_dtypes.bfloat16, "float32": np.float32, "float16": np.float16}


def local_folder(path: str, weights: bool = True, key: str = "config.model.path") -> Path:
    """The folder of a model: `path` itself, or the snapshot of a Hugging Face name, downloaded where needed.

    Without `weights` it need hold no more than `config.json`. `key` held the path, for the error line.
    """
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    if path.startswith((".", "/", "~")) or path.count("/") != 1:
        raise UsageError(f"{key}={path!r}: no such folder (and no Hugging Face name, which is owner/model)")
    from huggingface_hub import snapshot_download

    kept = ["*.json", "*.safetensors", "*.model", "*.jinja", "*.txt"] if weights else ["config.json"]
    try:
        return Path(snapshot_download(path, allow_patterns=kept))
    except Exception as error:  # the hub raises many kinds; all of them mean that the model is not there
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{key}={path!r}: no such folder, and the model hub did not give it: {reason}") from error


_Cut = tuple[tuple[int, int], ...]
"""Which part of an array: start and stop of each dimension."""


@dataclass(frozen=True)
class _Place:
    """Where the part of a weight that belongs to one layer (and expert) lies in the files."""

    lead: tuple[int, ...]
    """Index of the part in the weight's leading axes: layer, expert."""
    tensor: str
    file_shape: tuple[int, ...]
    """Of the whole tensor."""
    rows: tuple[int, int]
    """Range of its first dimension that is this part."""


def _places(config: ModelConfig, path: tuple[str, ...]) -> Iterator[_Place]:
    weights = table(config)
    weight = weights[path]
    stacks = dict(config.stacks)
    if path[0] not in stacks:
        yield _Place((), tensor_name(config.family, path[-1], None), weight.shape, (0, weight.shape[0]))
        return
    shape = _file_shape(weight)
    start, rows = 0, shape[0]
    part = part_of(config.family, path[-1])
    if part:
        sizes = [_file_shape(weights[path[0], name])[0] for name in part.of]
        start, rows = sum(sizes[: part.of.index(path[-1])]), sum(sizes)
    for i, layer in enumerate(stacks[path[0]]):
        for expert in range(weight.shape[1]) if _has_expert_axis(weight) else [None]:
            lead = (i,) if expert is None else (i, expert)
            name = tensor_name(config.family, path[-1], layer, expert)
            yield _Place(lead, name, (rows, *shape[1:]), (start, start + shape[0]))


def _has_expert_axis(weight: Weight) -> bool:
    return weight.axes[:2] == ("layers", "experts")


def _part_shape(weight: Weight) -> tuple[int, ...]:
    """Of one layer's (and expert's) part of a stacked weight."""
    return weight.shape[2 if _has_expert_axis(weight) else 1 :]


def _file_shape(weight: Weight) -> tuple[int, ...]:
    """Of that part in a file: linear layers are [outputs, inputs], all else is flat."""
    shape, n = _part_shape(weight), weight.inputs
    return (math.prod(shape[n:]), math.prod(shape[:n])) if n else (math.prod(shape),)


def check_files(folder: Path, config: ModelConfig) -> None:
    """Raises `UsageError` unless the folder's safetensors files hold every weight in its shape. Reads headers only."""
    if "quantization_config" in config.hf:
        raise UsageError(f"{folder}: quantized weights; expected float32, float16 or bfloat16")
    tensors = TensorFiles(folder)
    for path in _weights_of(tensors, config):
        for place in _places(config, path):
            tensors.find(place.tensor, place.file_shape)


def _weights_of(tensors: TensorFiles, config: ModelConfig) -> dict[tuple[str, ...], Weight]:
    """The table without what starts at zero where the files do not have it: scores of a language model."""
    begins = "score" in config.heads and tensor_name(config.family, "score", None) not in tensors.names
    return {path: weight for path, weight in table(config).items() if not (begins and path == SCORE)}


def load_params(folder: Path, config: ModelConfig, shardings: Params, dtype: DTypeLike = "float32") -> Params:
    """The weights of a folder, each shard read from its byte range straight into its dtype.

    Of a language model's folder the layer that gives scores, where the config has one, is zeros.

    Args:
        folder: holds *.safetensors in float32, float16 or bfloat16.
        config: from `families.read_config`.
        shardings: a tree as `weights.tree` makes it, of `jax.sharding.Sharding`.
        dtype: of the weights, as `weights.cast` would make them of the float32 masters.

    Raises:
        UsageError: a tensor is missing, has another shape, or holds what is no finite number; names file and tensor.
    """
    tensors = TensorFiles(folder)
    leaves: dict[tuple[str, ...], Any] = {}
    weights = _weights_of(tensors, config)
    with ThreadPoolExecutor(THREADS) as threads:
        for path, weight in table(config).items():
            sharding: Any = functools.reduce(lambda node, name: node[name], path, shardings)
            if path not in weights:
                leaves[path] = jax.device_put(np.zeros(weight.shape, dtype), sharding)
                continue
            places = {place.lead: place for place in _places(config, path)}
            made = np.dtype(dtype_of(path[-1], dtype))
            read = functools.partial(_read_shard, tensors, weight, places, made, threads)
            leaves[path] = _load(weight, sharding, read)
    return tree(leaves)


def _load(weight: Weight, sharding: Sharding, read: Callable[[_Cut], np.ndarray]) -> jax.Array:
    """The array whose shards `read` gives: each is read once, and is on its device before the next is read."""
    shards: list[jax.Array] = []
    made: dict[_Cut, jax.Array] = {}
    for device, index in sharding.addressable_devices_indices_map(weight.shape).items():
        assert index is not None
        cut = tuple(one.indices(n)[:2] for one, n in zip(index, weight.shape, strict=True))
        if cut not in made:
            made[cut] = jax.device_put(read(cut), device).block_until_ready()
        shards.append(jax.device_put(made[cut], device))  # itself, or a copy for another device
    return jax.make_array_from_single_device_arrays(weight.shape, sharding, shards)


def _read_shard(
    tensors: TensorFiles,
    weight: Weight,
    places: dict[tuple[int, ...], _Place],
    dtype: np.dtype,
    threads: Executor,
    cut: _Cut,
) -> np.ndarray:
    """Part `cut` of a weight of the table, read from the files that hold it."""
    leading = len(next(iter(places)))
    out = _aligned(tuple(stop - start for start, stop in cut), dtype)

    def fill(lead: tuple[int, ...]) -> None:
        place = places[tuple(start + i for (start, _), i in zip(cut, lead, strict=False))]
        rows = tensors.find(place.tensor, place.file_shape)[slice(*place.rows)]
        # From the file's [outputs, inputs] to the table's [inputs…, outputs…].
        part = (rows.T if weight.inputs else rows).reshape(weight.shape[leading:])
        tensors.copy(place.tensor, part[tuple(slice(*one) for one in cut[leading:])], out[lead])

    # To run through the results is to raise what a thread has raised.
    for _ in threads.map(fill, np.ndindex(*out.shape[:leading])):
        pass
    return out


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Memory, not yet filled, which jax takes over on CPU: where it begins elsewhere, jax would copy it."""
    size = dtype.itemsize * math.prod(shape)
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def source_dtype(config: ModelConfig) -> str:
    """The dtype of the files that the config comes from; bfloat16 where it does not say."""
    name = config.hf.get("dtype") or config.hf.get("torch_dtype")
    return name if name in DTYPES else "bfloat16"


def hf_config(config: ModelConfig, dtype: str) -> dict:
    """The content of `config.json`: what was read, with the dtype of the files."""
    # The folder's own code does not come along, nor do layers that predict further tokens.
    kept = {key: value for key, value in config.hf.items() if key not in ("dtype", "torch_dtype", "auto_map")}
    kept |= {"num_nextn_predict_layers": 0} if "num_nextn_predict_layers" in kept else {}
    architecture = FAMILIES[config.family].architecture
    if "vocabulary" not in config.heads:
        # As transformers calls a model with one score, whose label says what it is trained for, where that is known.
        labels = kept.get("id2label") or {}
        label = labels["0"] if list(labels) == ["0"] else "score"
        kept |= {"id2label": {"0": label}, "label2id": {label: 0}}
        kept.pop("architectures", None)
        architecture = architecture.replace("ForCausalLM", "ForSequenceClassification")
    return {"architectures": [architecture], **kept, "torch_dtype": dtype}


def save_config(folder: Path, config: ModelConfig, dtype: str) -> None:
    """Writes `config.json`, and makes the folder where it is absent."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "config.json", json.dumps(hf_config(config, dtype), indent=2) + "\n")


def save_params(folder: Path, config: ModelConfig, params: Params, dtype: str = "bfloat16") -> None:
    """Writes `config.json` and safetensors files of at most 5 GiB with an index, in the family's layout.

    On several hosts all take part and the first one writes. It holds one file's tensors at a time, and one layer of
    the weight that is being written.
    """
    files: list[dict[str, list[_Piece]]] = [{}]
    size = total = 0
    for name, pieces in _tensors(config).items():
        path, place = pieces[0]
        nbytes = math.prod(place.file_shape) * _file_dtype(path, dtype).itemsize
        if size + nbytes > MAX_FILE_BYTES and files[-1]:
            files.append({})
            size = 0
        files[-1][name] = pieces
        size, total = size + nbytes, total + nbytes

    if len(files) == 1:
        names = ["model.safetensors"]
    else:
        names = [f"model-{i + 1:05d}-of-{len(files):05d}.safetensors" for i in range(len(files))]
    if hosts.is_first():
        save_config(folder, config, dtype)
    read = _reader(params, config, dtype)
    for file, tensors in zip(names, files, strict=True):
        arrays = {name: _to_file(read, pieces) for name, pieces in tensors.items()}
        if hosts.is_first():
            save_file(arrays, folder / file, metadata={"format": "pt"})
            # safetensors makes files that only their owner can read.
            shutil.copymode(folder / "config.json", folder / file)
    if hosts.is_first() and len(files) > 1:
        where = {name: file for file, tensors in zip(names, files, strict=True) for name in tensors}
        index = {"metadata": {"total_size": total}, "weight_map": where}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


_Piece = tuple[tuple[str, ...], _Place]
"""A part of a tensor: path of the weight that it comes from, and where it lies."""


def _tensors(config: ModelConfig) -> dict[str, list[_Piece]]:
    """Tensor → the parts of weights that make it up, in the order of their rows.

    What comes from one layer of a weight, such as its experts, stands together.
    """
    made: dict[str, list[_Piece]] = {}
    for path in table(config):
        for place in _places(config, path):
            made.setdefault(place.tensor, []).append((path, place))
    return {name: sorted(pieces, key=lambda piece: piece[1].rows) for name, pieces in made.items()}


def _file_dtype(path: tuple[str, ...], dtype: str) -> np.dtype:
    return np.dtype(dtype_of(path[-1], DTYPES[dtype]))


def _reader(params: Params, config: ModelConfig, dtype: str) -> Callable[[_Piece], np.ndarray]:
    """`read(piece)`: rows of a tensor as its file holds them.

    A layer of a weight is fetched once for all of its experts, if these are asked for one behind the other: for each
    by itself, dispatching would take longer than moving its bytes.
    """
    weights = table(config)

    @functools.lru_cache(maxsize=1)
    def fetch(path: tuple[str, ...], layer: tuple[int, ...]) -> np.ndarray:
        value: Any = functools.reduce(lambda node, name: node[name], path, params)
        return np.asarray(hosts.fetch(value[layer].astype(_file_dtype(path, dtype))))

    def read(piece: _Piece) -> np.ndarray:
        path, place = piece
        array, inputs = fetch(path, place.lead[:1])[place.lead[1:]], weights[path].inputs
        if not place.lead:
            return array
        return array.reshape(math.prod(array.shape[:inputs]), -1).T if inputs else array.reshape(-1)

    return read


def _to_file(read: Callable[[_Piece], np.ndarray], pieces: list[_Piece]) -> np.ndarray:
    """A tensor as a file holds it."""
    rows = [read(piece) for piece in pieces]
    # Rows that are turned stay turned when they are joined.
    return np.ascontiguousarray(rows[0] if len(rows) == 1 else np.concatenate(rows))
