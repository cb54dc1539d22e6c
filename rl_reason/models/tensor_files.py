"""Named tensors in the safetensors files of a folder, mapped into memory."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors import safe_open

from rl_reason.errors import UsageError

DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
BLOCK = 2**17
"""How many numbers are converted at a time: so many stay in a core's cache, where turning them costs little."""
BLOCK_ROWS = 64
"""At least so many rows of a file's matrix are turned together: fewer would scatter single numbers over memory."""
FINGERPRINT_BYTES = 256
"""Of each tensor, from its middle."""


class TensorFiles:
    """The tensors of a folder. Files are mapped, not read: a part of a tensor costs its own bytes only.

    Raises:
        UsageError: there are none, or one is missing or torn. Pickle files, which can run code, are never opened.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        files = _listed(folder) or sorted(folder.glob("*.safetensors"))
        if not files:
            found = ", ".join(sorted(p.name for pattern in ("*.bin", "*.pt", "*.pth") for p in folder.glob(pattern)))
            hint = f" (found {found}: pickle files can run code and are never opened)" if found else ""
            raise UsageError(f"config.model.path={str(folder)!r}: expected *.safetensors files{hint}")
        self._where: dict[str, tuple[Path, np.ndarray, dict]] = {}
        for file in files:
            if not file.is_file():
                raise UsageError(f"{file}: missing; model.safetensors.index.json says that it holds tensors")
            data, header = _mapped(file)
            self._where |= {name: (file, data, about) for name, about in header.items() if name != "__metadata__"}

    @property
    def names(self) -> set[str]:
        return set(self._where)

    def fingerprint(self) -> str:
        """Tells whether the tensors are the same ones: their names, shapes and dtypes, and some bytes of each.

        It does not depend on how they are cut into files.
        """
        digest = hashlib.sha256()
        for name in sorted(self._where):
            _, data, about = self._where[name]
            start, stop = about["data_offsets"]
            middle = max(start, (start + stop - FINGERPRINT_BYTES) // 2)
            digest.update(f"{name} {about['shape']} {about['dtype']} ".encode())
            digest.update(data[middle : min(stop, middle + FINGERPRINT_BYTES)].tobytes())
        return digest.hexdigest()

    def find(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """The whole tensor in the file's dtype, of which nothing is read until it is used.

        Raises:
            UsageError: it is missing or is not what config.json says.
        """
        if name not in self._where:
            raise UsageError(f"{self.folder}: tensor {name!r} is missing")
        file, data, about = self._where[name]
        if tuple(about["shape"]) != shape:
            raise UsageError(f"{file}: tensor {name!r} has shape {tuple(about['shape'])}, config.json says {shape}")
        if about["dtype"] not in DTYPES:
            raise UsageError(f"{file}: tensor {name!r} is {about['dtype']}; expected one of {', '.join(DTYPES)}")
        return data[slice(*about["data_offsets"])].view(DTYPES[about["dtype"]]).reshape(shape)

    def copy(self, name: str, part: np.ndarray, out: np.ndarray) -> None:
        """Reads a part of tensor `name`, which may be turned, into `out` of the same shape, in the dtype of that.

        Raises:
            UsageError: the part holds what is no finite number.
        """
        # Blocks along the dimension that is outermost in the file are read in one go.
        axis = int(np.argmax(part.strides))
        each = max(1, part.size // part.shape[axis])
        step = max(1, BLOCK // each, BLOCK_ROWS // math.prod(part.shape[axis + 1 :]))
        part, out = np.moveaxis(part, axis, 0), np.moveaxis(out, axis, 0)
        for i in range(0, len(part), step):
            # By way of float32, in which numpy is quick to convert and to check.
            block = part[i : i + step].astype(np.float32)
            if not np.isfinite(block).all():
                raise UsageError(f"{self._where[name][0]}: tensor {name!r} holds NaN or infinity")
            out[i : i + step] = block

    def read(self, name: str, shape: tuple[int, ...], index: tuple[slice, ...]) -> np.ndarray:
        """A slice of a tensor as float32."""
        part = self.find(name, shape)[index]
        out = np.empty(part.shape, np.float32)
        self.copy(name, part, out)
        return out


def _mapped(file: Path) -> tuple[np.ndarray, dict]:
    """The bytes behind a file's header, mapped, and the header: shape, dtype and place of each tensor."""
    try:
        # Checks the header, and that the file holds all the bytes that the header tells of.
        with safe_open(file, framework="numpy"):
            pass
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(length))
    except Exception as error:  # the library raises a kind of its own
        raise UsageError(f"{file}: no complete safetensors file: {' '.join(str(error).split())[:200]}") from error
    return np.memmap(file, np.uint8, "r")[8 + length :].view(np.ndarray), header


def _listed(folder: Path) -> list[Path]:
    """The files that the index names, where there is one: folders may hold other weights beside the model's."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return []
    try:
        return [folder / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise UsageError(f"{index}: expected JSON with a weight_map: {error}") from None
