"""Weights of a folder onto a mesh: how much memory that takes, which bytes a host reads, and which folders are refused.

Run as a program, this file is a host that loads folders and tells what that took.
"""

from __future__ import annotations

import functools
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest

from rl_reason import settings
from rl_reason.errors import UsageError
from rl_reason.models import families, huggingface, weights
from rl_reason.models.tensor_files import TensorFiles
from rl_reason.parallel import hosts
from rl_reason.parallel.mesh import make_mesh, sharding

ROOT = Path(__file__).parents[2]
DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
# More rows and numbers than are converted at a time.
SMALL = {"vocab_size": 1500, "hidden_size": 96, "intermediate_size": 200, "num_hidden_layers": 2}
BIG = {
    "250 MB": {"vocab_size": 8000, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 2},
    "2 GB": {"vocab_size": 32_000, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 20},
}
EMBED, UP = "model.embed_tokens.weight", "model.layers.1.mlp.up_proj.weight"


def config_json(sizes: dict[str, int]) -> dict:
    """Of a Qwen2 with as many key/value heads as halves of the query heads."""
    heads = {"num_attention_heads": 8, "num_key_value_heads": 4, "max_position_embeddings": 64}
    return {"model_type": "qwen2", "tie_word_embeddings": False, **heads, **sizes}


def tensor_shapes(sizes: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """The tensors of its files."""
    D, F, V = sizes["hidden_size"], sizes["intermediate_size"], sizes["vocab_size"]
    made: dict[str, tuple[int, ...]] = {EMBED: (V, D)}
    for i in range(sizes["num_hidden_layers"]):
        layer = {
            "input_layernorm.weight": (D,), "post_attention_layernorm.weight": (D,),
            "self_attn.q_proj.weight": (D, D), "self_attn.k_proj.weight": (D // 2, D),
            "self_attn.v_proj.weight": (D // 2, D), "self_attn.o_proj.weight": (D, D),
            "self_attn.q_proj.bias": (D,), "self_attn.k_proj.bias": (D // 2,), "self_attn.v_proj.bias": (D // 2,),
            "mlp.gate_proj.weight": (F, D), "mlp.up_proj.weight": (F, D), "mlp.down_proj.weight": (D, F),
        }  # fmt: skip
        made |= {f"model.layers.{i}.{name}": shape for name, shape in layer.items()}
    return made | {"model.norm.weight": (D,), "lm_head.weight": (V, D)}


def write_file(file: Path, tensors: dict[str, tuple[str, tuple[int, ...], Iterable[bytes]]], pad: int = 0) -> None:
    """A safetensors file of (dtype, shape, pieces of its bytes), with so many spaces behind the header."""
    header, end = {}, 0
    for name, (dtype, shape, _) in tensors.items():
        start, end = end, end + math.prod(shape) * {"F32": 4, "BF16": 2, "F16": 2}.get(dtype, 1)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    text += b" " * (-len(text) % 8 + pad)
    with file.open("wb") as to:
        to.write(len(text).to_bytes(8, "little") + text)
        for _, _, pieces in tensors.values():
            to.writelines(pieces)


def write_index(folder: Path, files: dict[str, Iterable[str]]) -> None:
    where = {name: file for file, names in files.items() for name in names}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))


def write_folder(folder: Path, arrays: dict[str, np.ndarray], count: int = 1, pad: int = 0) -> Path:
    """A folder of the small model with these arrays in so many files."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config_json(SMALL)))
    names, files = list(arrays), {}
    codes = {np.dtype(dtype): code for code, dtype in DTYPES.items()} | {np.dtype(np.int8): "I8"}
    codes[np.dtype(ml_dtypes.float8_e4m3fn)] = "F8_E4M3"
    for i in range(count):
        part = names[len(names) * i // count : len(names) * (i + 1) // count]
        files[f"model-{i + 1}.safetensors"] = part
        contents = {name: (codes[arrays[name].dtype], arrays[name].shape, [arrays[name].tobytes()]) for name in part}
        write_file(folder / f"model-{i + 1}.safetensors", contents, pad)
    if count > 1:
        write_index(folder, files)
    return folder


def random_arrays(dtype: str = "BF16") -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape).astype(DTYPES[dtype]) for name, shape in tensor_shapes(SMALL).items()}


def load(
    folder: Path, sizes: settings.Mesh, devices: list[jax.Device] | None = None, dtype: str = "float32"
) -> weights.Params:
    config, mesh = families.read_config(folder), make_mesh(sizes, devices)
    table = weights.table(config).items()
    places = weights.tree({path: sharding(mesh, weight.axes, weight.shape) for path, weight in table})
    return huggingface.load_params(folder, config, places, dtype)


# Memory, and what is read.


def host(folders: list[str], dtype: str) -> None:
    """Loads each folder with its weights split over all devices and prints a line of JSON about it.

    The memory for the last one is what comes on top of its `baseline`; who started this process watches how high it
    goes. A small folder before it has everything imported.
    """
    jax.block_until_ready(jax.numpy.zeros(1))
    read = 0
    copy = TensorFiles.copy

    def counted(self, name, part, out):
        nonlocal read
        read += part.nbytes
        copy(self, name, part, out)

    TensorFiles.copy = counted  # type: ignore[method-assign]
    for folder in folders:
        read, baseline, start = 0, anonymous(os.getpid()), time.perf_counter()
        told: dict = {}
        try:
            params = load(Path(folder), settings.Mesh(data=1, fsdp=-1), dtype=dtype)
            shards = [shard.data for leaf in jax.tree.leaves(params) for shard in leaf.addressable_shards]
            told["held"] = sum(shard.nbytes for shard in shards)
            # Who watches may miss the moment.
            told["peak"] = anonymous(os.getpid())
            del params, shards
        except UsageError as error:
            told["refused"] = str(error)
        print(json.dumps(told | {"read": read, "baseline": baseline, "s": time.perf_counter() - start}), flush=True)


def anonymous(pid: int) -> int:
    """Bytes of a process's memory that are no mapped file: pages of files are the kernel's cache."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
    except (OSError, StopIteration):  # it has ended
        return 0


def run_hosts(folder_lists: list[list[Path]], devices: int, dtype: str = "float32") -> list[list[dict]]:
    """What hosts of so many devices each, that work together, tell of their folders; the last with its `peak`."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{found.getsockname()[1]}"
    environment = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
    }
    started = []
    for i, folders in enumerate(folder_lists):
        joins = [address, str(len(folder_lists)), str(i)] if len(folder_lists) > 1 else ["", "0", "-1"]
        command = [sys.executable, __file__, *joins, dtype, *map(str, folders)]
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    peaks = [0] * len(started)
    try:
        while any(process.poll() is None for process in started):
            peaks = [max(peak, anonymous(process.pid)) for peak, process in zip(peaks, started, strict=True)]
            time.sleep(0.002)
        told = []
        for process, peak in zip(started, peaks, strict=True):
            assert process.returncode == 0 and process.stdout is not None
            # The transport between processes prints, too.
            told.append([json.loads(line) for line in process.stdout if line.startswith("{")])
            last = told[-1][-1]
            last["peak"] = max(peak, last["peak"]) - last["baseline"]
        return told
    finally:
        for process in started:
            process.kill()


@pytest.fixture(scope="module")
def big_folder(tmp_path_factory):
    """big_folder(size): a folder in bfloat16 in four files, made once."""

    @functools.cache
    def make(size: str) -> Path:
        folder, shapes = tmp_path_factory.mktemp("big"), tensor_shapes(BIG[size])
        (folder / "config.json").write_text(json.dumps(config_json(BIG[size])))
        noise = memoryview(np.random.default_rng(0).standard_normal(2**21).astype(ml_dtypes.bfloat16).tobytes())

        def repeated(size: int):
            while size > 0:
                yield noise[:size]
                size -= len(noise)

        files, names = {}, list(shapes)
        for i in range(4):
            part = names[len(names) * i // 4 : len(names) * (i + 1) // 4]
            files[f"model-{i}.safetensors"] = part
            contents = {name: ("BF16", shapes[name], repeated(2 * math.prod(shapes[name]))) for name in part}
            write_file(folder / f"model-{i}.safetensors", contents)
        write_index(folder, files)
        made.append(folder)
        return folder

    made: list[Path] = []
    yield make
    for folder in made:
        shutil.rmtree(folder)


def check_memory(told: dict, size: str, hosts: int, devices: int, bytes_each: int = 4) -> None:
    """Of one of so many hosts with so many devices each. Vectors are on every device, and are read once."""
    sizes = [(math.prod(shape), len(shape)) for shape in tensor_shapes(BIG[size]).values()]
    matrices = sum(n for n, rank in sizes if rank == 2)
    vectors = sum(n for n, rank in sizes if rank == 1)
    print(f"held {told['held'] / 1e9:.2f} GB, peak {told['peak'] / 1e9:.2f} GB, {told['s']:.1f} s")
    assert told["read"] == 2 * (matrices // hosts + vectors)
    assert told["held"] == bytes_each * (matrices // hosts + vectors * devices)
    # 1.3 × held + the largest tensor is what is promised.
    assert 0.9 * told["held"] <= told["peak"] <= told["held"] + bytes_each * max(n for n, _ in sizes)


ALWAYS_AND_SLOW = ["250 MB", pytest.param("2 GB", marks=pytest.mark.slow)]


@pytest.mark.slow
@pytest.mark.parametrize("size", ["250 MB", "2 GB"])
def test_memory_on_one_device(size, big_folder, tmp_path):
    ((_, told),) = run_hosts([[write_folder(tmp_path / "small", random_arrays()), big_folder(size)]], devices=1)
    check_memory(told, size, hosts=1, devices=1)


@pytest.mark.slow
def test_memory_in_bfloat16(big_folder, tmp_path):
    """No float32 weights on the way."""
    folders = [write_folder(tmp_path / "small", random_arrays()), big_folder("250 MB")]
    ((_, told),) = run_hosts([folders], devices=1, dtype="bfloat16")
    check_memory(told, "250 MB", hosts=1, devices=1, bytes_each=2)


@pytest.mark.slow
def test_memory_on_a_mesh(big_folder, tmp_path):
    folder = big_folder("2 GB")
    assert sum(file.stat().st_size for file in folder.iterdir()) > 2e9
    ((_, told),) = run_hosts([[write_folder(tmp_path / "small", random_arrays()), folder]], devices=8)
    check_memory(told, "2 GB", hosts=1, devices=8)


@pytest.mark.parametrize("size", ALWAYS_AND_SLOW)
def test_a_host_needs_and_reads_only_its_part(size, big_folder, tmp_path):
    """The first of two hosts has the first half of the model's width. What is NaN in the other half it never sees."""
    folders = []
    for half in (slice(48, 96), slice(0, 48)):
        arrays = random_arrays()
        for name, array in arrays.items():
            if array.ndim == 2:  # [outputs, inputs]: these two alone put the width out
                (array if name.endswith(("o_proj.weight", "down_proj.weight")) else array.T)[half] = np.nan
        folders.append(write_folder(tmp_path / f"nan-{half.start}", arrays))
    big = big_folder(size)
    for good, bad, told in run_hosts([[*folders, big], [*reversed(folders), big]], devices=4):
        assert "refused" not in good and "NaN" in bad["refused"]
        check_memory(told, size, hosts=2, devices=4)


# Values.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count, pad", [(1, 1), (3, 0)])
def test_values(dtype, count, pad, tmp_path):
    """In every dtype, from one file whose header has an odd length and from several, whole and cut."""
    arrays = random_arrays(dtype)
    folder = write_folder(tmp_path / "model", arrays, count, pad)
    layers = [{name: arrays[f"model.layers.{i}.{name}.weight"] for name in
               ("self_attn.q_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj",
                "post_attention_layernorm")} for i in range(2)]  # fmt: skip
    expected = {
        "query": [layer["self_attn.q_proj"].T.reshape(96, 8, 12) for layer in layers],
        "value": [layer["self_attn.v_proj"].T.reshape(96, 4, 12) for layer in layers],
        "output": [layer["self_attn.o_proj"].T.reshape(8, 12, 96) for layer in layers],
        "up": [layer["mlp.up_proj"].T for layer in layers],
        "down": [layer["mlp.down_proj"].T for layer in layers],
        "mlp_norm": [layer["post_attention_layernorm"] for layer in layers],
    }
    for mesh, devices in ((settings.Mesh(), jax.devices()[:1]), (settings.Mesh(data=2, fsdp=2, tensor=2), None)):
        params = load(folder, mesh, devices)
        for name, value in expected.items():
            assert params["layers"][name].dtype == np.float32
            np.testing.assert_array_equal(params["layers"][name], np.stack(value).astype(np.float32), err_msg=name)
            for shard in params["layers"][name].addressable_shards:
                whole = np.stack(value).astype(np.float32)
                np.testing.assert_array_equal(shard.data, whole[shard.index], err_msg=name)
        np.testing.assert_array_equal(params["embed"], arrays[EMBED].astype(np.float32))


@pytest.mark.parametrize("dtype", DTYPES)
def test_in_bfloat16_the_values_are_those_of_the_masters_rounded(dtype, tmp_path):
    """Whole and cut; of a file in bfloat16 they are the very same."""
    arrays = random_arrays(dtype)
    folder = write_folder(tmp_path / "model", arrays, 3)
    for mesh, devices in ((settings.Mesh(), jax.devices()[:1]), (settings.Mesh(data=2, fsdp=2, tensor=2), None)):
        masters, made = load(folder, mesh, devices), load(folder, mesh, devices, "bfloat16")
        expected = weights.cast(masters, jax.numpy.bfloat16)
        for one, other, master in zip(*map(jax.tree.leaves, (made, expected, masters)), strict=True):
            assert one.dtype == jax.numpy.bfloat16 and one.sharding == master.sharding
            assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
        if dtype == "BF16":
            assert np.asarray(made["embed"]).tobytes() == arrays[EMBED].tobytes()


def test_the_largest_numbers_are_numbers(tmp_path):
    arrays = random_arrays()
    arrays["model.norm.weight"][:] = ml_dtypes.finfo(ml_dtypes.bfloat16).max
    params = load(write_folder(tmp_path / "model", arrays), settings.Mesh())
    assert (np.asarray(params["final_norm"]) > 3e38).all()


def test_other_tensors_are_ignored(tmp_path):
    """Such as another head or a table of frequencies, whatever they hold."""
    arrays = random_arrays() | {
        "model.layers.0.self_attn.rotary_emb.inv_freq": np.full(4, np.nan, np.float32),
        "score.weight": np.zeros((2, 96), np.int8),
    }
    folder = write_folder(tmp_path / "model", arrays)
    huggingface.check_files(folder, families.read_config(folder))
    params = load(folder, settings.Mesh())
    assert set(params) == {"embed", "layers", "final_norm", "head"} and len(params["layers"]) == 12


# What is refused.


def refusal(act, *words: str) -> None:
    with pytest.raises(UsageError) as error:
        act()
    line = str(error.value)
    assert "\n" not in line
    for word in words:
        assert word in line, line


def check(folder: Path):
    """What a command does before it compiles or writes anything."""
    return lambda: huggingface.check_files(folder, families.read_config(folder))


@pytest.fixture
def folder(tmp_path):
    """A good folder, of three files."""
    return write_folder(tmp_path / "model", random_arrays(), 3)


def test_a_good_folder_passes(folder):
    check(folder)()


@pytest.mark.parametrize("kept", [-1, 100_000, 100, 4, 0])
def test_a_truncated_file(folder, kept):
    file = folder / "model-2.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    refusal(check(folder), str(file))


def test_a_missing_file(folder):
    (folder / "model-3.safetensors").unlink()
    refusal(check(folder), str(folder / "model-3.safetensors"), "missing")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}', "\xff\n"])
def test_an_index_that_is_none(folder, text):
    index = folder / "model.safetensors.index.json"
    index.write_bytes(text.encode("latin-1"))
    refusal(check(folder), str(index), "weight_map")


def test_an_index_that_names_a_pickle(folder):
    """It is not opened as one, under any name."""
    opened = folder / "opened"
    attack = f"cos\nsystem\n(S'touch {opened}'\ntR.".encode()
    (folder / "pytorch_model.bin").write_bytes(attack)
    write_index(folder, {"pytorch_model.bin": tensor_shapes(SMALL)})
    refusal(check(folder), str(folder / "pytorch_model.bin"), "no complete safetensors file")
    assert not opened.exists()


def test_code_of_a_folder_is_not_run(folder):
    ran = folder / "ran"
    (folder / "configuration_evil.py").write_text(f"open({str(ran)!r}, 'w')\n")
    own = {"auto_map": {"AutoConfig": "configuration_evil.Config"}, "trust_remote_code": True}
    (folder / "config.json").write_text(json.dumps(config_json(SMALL) | own))
    check(folder)()
    load(folder, settings.Mesh())
    assert not ran.exists()
    (folder / "config.json").write_text(json.dumps(config_json(SMALL) | own | {"model_type": "evil"}))
    refusal(check(folder), str(folder / "config.json"), "evil")
    assert not ran.exists()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name, file, place", [(EMBED, 1, (-1, -1)), (UP, 3, (130, 0)), ("model.norm.weight", 3, 7)])
def test_a_number_that_is_none(name, file, place, value, dtype, tmp_path):
    """Found at the last place of the last block as well, on whichever device it would lie."""
    arrays = random_arrays(dtype)
    arrays[name][place] = value
    folder = write_folder(tmp_path / "model", arrays, 3)
    check(folder)()
    told = (str(folder / f"model-{file}.safetensors"), repr(name), "NaN or infinity")
    refusal(lambda: load(folder, settings.Mesh(), jax.devices()[:1]), *told)
    refusal(lambda: load(folder, settings.Mesh(data=2, fsdp=2, tensor=2)), *told)


@pytest.mark.parametrize("dtype, told", [(ml_dtypes.float8_e4m3fn, "F8_E4M3"), (np.int8, "I8")])
def test_a_dtype_that_is_none_of_ours(dtype, told, tmp_path):
    arrays = random_arrays()
    arrays[UP] = arrays[UP].astype(np.float32).astype(dtype)
    folder = write_folder(tmp_path / "model", arrays, 3)
    refusal(check(folder), str(folder / "model-3.safetensors"), UP, told, "BF16")


def test_a_missing_tensor_and_one_of_another_shape(tmp_path):
    arrays = random_arrays()
    del arrays[UP]
    refusal(check(write_folder(tmp_path / "missing", arrays)), str(tmp_path / "missing"), UP, "missing")
    arrays[UP] = np.zeros((96, 200), np.float32)
    folder = write_folder(tmp_path / "turned", arrays)
    refusal(check(folder), str(folder / "model-1.safetensors"), UP, "(96, 200)", "(200, 96)")


def test_quantized_weights(folder):
    values = config_json(SMALL) | {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    (folder / "config.json").write_text(json.dumps(values))
    refusal(check(folder), str(folder), "quantized", "bfloat16")


if __name__ == "__main__":
    coordinator, processes, process, dtype, *listed = sys.argv[1:]
    with hosts.joined(coordinator, int(processes), int(process)):
        host(listed, dtype)
