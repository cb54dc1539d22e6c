"""A virtual environment for each peer, made on first use from its file of exact versions."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks import machine
from rl_reason.errors import RunError

HERE = Path(__file__).parent
CACHE = HERE.parent / ".environments"
"""Environments, and the models of workloads."""


def cache() -> Path:
    """The folder of what is made once; git does not see it."""
    CACHE.mkdir(exist_ok=True)
    ignore = CACHE / ".gitignore"
    if not ignore.is_file():
        ignore.write_text("*\n")
    return CACHE


def requirements(system: str, gpu: bool) -> list[Path]:
    """The files of versions: `SYSTEM.txt`, and where there is a GPU `SYSTEM-gpu.txt`, if the system has it."""
    files = [HERE / f"{system}.txt", HERE / f"{system}-gpu.txt"]
    return [file for file in files[: 2 if gpu else 1] if file.is_file()]


def python_of(system: str) -> Path:
    """The interpreter of a system's environment, which is made where it is absent or of other versions.

    Raises:
        RunError: its packages cannot be installed.
    """
    files = requirements(system, gpu=machine.describe()["gpu"] is not None)
    folder = cache() / system
    python, mark = folder / "bin" / "python", folder / ".made-from"
    made_from = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    if python.exists() and mark.is_file() and mark.read_text() == made_from:
        return python
    print(f"installing {system} into an environment of its own (minutes, once)", file=sys.stderr, flush=True)
    venv.create(folder, with_pip=True, clear=folder.is_dir() and not folder.is_symlink())
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    command += [f"--requirement={file}" for file in files]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        errors = [line for line in made.stderr.splitlines() if line.startswith("ERROR")]
        raise RunError(f"{system} cannot be installed: {' '.join(errors)[:300] or 'pip failed'}")
    mark.write_text(made_from)
    return python
