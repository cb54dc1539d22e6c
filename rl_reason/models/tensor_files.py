"""Named tensors in the safetensors files of a folder, read by slices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from rl_reason.errors import UsageError

DTYPES = ("F32", "F16", "BF16")


class TensorFiles:
    """The tensors of a folder. Files are mapped, not read: a slice costs its own bytes only.

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
        self._where: dict[str, tuple[Path, Any]] = {}
        for file in files:
            if not file.is_file():
                raise UsageError(f"{file}: missing; model.safetensors.index.json says that it holds tensors")
            try:
                handle = safe_open(file, framework="numpy")
            except Exception as error:  # a torn header or length raises a kind of its own
                raise UsageError(f"{file}: no complete safetensors file: {error}") from error
            self._where |= {name: (file, handle) for name in handle.keys()}

    def find(self, name: str, shape: tuple[int, ...]) -> Any:
        """The tensor's slices; raises `UsageError` where it is missing or is not what config.json says."""
        if name not in self._where:
            raise UsageError(f"{self.folder}: tensor {name!r} is missing")
        file, handle = self._where[name]
        piece = handle.get_slice(name)
        if tuple(piece.get_shape()) != shape:
            raise UsageError(f"{file}: tensor {name!r} has shape {tuple(piece.get_shape())}, config.json says {shape}")
        if piece.get_dtype() not in DTYPES:
            raise UsageError(f"{file}: tensor {name!r} is {piece.get_dtype()}; expected one of {', '.join(DTYPES)}")
        return piece

    def read(self, name: str, shape: tuple[int, ...], index: tuple[slice, ...]) -> np.ndarray:
        """A slice in the file's dtype; raises `UsageError` where it holds what is no finite number."""
        array = self.find(name, shape)[index]
        # The sum tells of any of them, and makes no array as large again.
        if not np.isfinite(np.sum(array, dtype=np.float64)):
            raise UsageError(f"{self._where[name][0]}: tensor {name!r} holds NaN or infinity")
        return array


def _listed(folder: Path) -> list[Path]:
    """The files that the index names, where there is one: folders may hold other weights beside the model's."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return []
    try:
        return [folder / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise UsageError(f"{index}: expected JSON with a weight_map: {error}") from None
