"""What a machine is: its processor, memory and GPU. Linux only."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def describe(gpu: bool = True) -> dict:
    """`cpu`, `cores`, `memory_bytes`, and `gpu`, which is None where there is none, or where it is not used."""
    return {"cpu": _cpu(), "cores": os.cpu_count(), "memory_bytes": _memory(), "gpu": _gpu() if gpu else None}


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"


def _memory() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("/proc/meminfo has no MemTotal")


def _gpu() -> str | None:
    """Name and memory of the first GPU."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return None
    return found[0].strip() if found else None
