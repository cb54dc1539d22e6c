"""What a run was computed with: versions, devices and the commit, for `environment.json`."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "rl_reason", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "transformers", "tokenizers",
    "safetensors", "tensorflow-datasets", "array_record", "grain", "ml_collections", "math-verify", "libtpu",
)  # fmt: skip


def describe() -> dict[str, Any]:
    """JSON values: `command` (its words), `python`, `platform`, `backend`, `devices` (kind → number), `hosts`,
    `packages`, `git`.

    Starts jax's backend, so `jax.distributed.initialize` comes first. Does not hold the machine's name.
    """
    import jax  # Here, because it is slow and `report` needs only what stands in the file.

    return {
        "command": _command(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "backend": jax.default_backend(),
        "devices": dict(Counter(device.device_kind for device in jax.devices())),
        "hosts": jax.process_count(),
        "packages": _versions(),
        "git": _commit(),
    }


def _command() -> list[str]:
    """What this process was started with; the file of a module by the module's name."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    program = ["python", "-m", spec.name] if spec else [Path(sys.argv[0]).name]
    return [*program, *sys.argv[1:]]


def _versions() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _commit() -> dict[str, Any] | None:
    """The commit of the current folder and whether files differ from it; None outside a repository."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "changed": bool(_git("status", "--porcelain", "--untracked-files=no"))}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
