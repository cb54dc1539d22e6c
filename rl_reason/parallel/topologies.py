"""Devices that this machine need not have: `v5p:2x2x4` is a slice of TPU chips, `cpu:8` so many parts of this CPU.

Programs can be compiled for them ahead of time, not run. Text is read without jax, which has to start afterwards.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rl_reason.errors import UsageError

if TYPE_CHECKING:
    import jax

GIB = 2**30
MEMORY = {"v4": 30.75, "v5e": 15.75, "v5p": 95.74, "v6e": 31.25}
"""GiB of a chip that a program may use, as libtpu says when a program needs more."""
EXPECTED = f"{'|'.join(MEMORY)}:AxB[xC], as in v5p:2x2x4, or cpu:N"
MOST_CPU_DEVICES = 1024


@dataclass(frozen=True)
class Topology:
    name: str
    kind: str
    """A key of `MEMORY`, or "cpu"."""
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of devices."""
        return math.prod(self.shape)

    @property
    def memory(self) -> int | None:
        """Bytes that a program may use on a device; None: it has none of its own."""
        return round(MEMORY[self.kind] * GIB) if self.kind in MEMORY else None


def parse(text: str) -> Topology:
    """What `--topology` names.

    Raises:
        UsageError: another kind of device, or a shape that such a slice cannot have.
    """
    kind, _, size = text.partition(":")
    if kind in ("gpu", "cuda", "rocm"):
        raise UsageError(f"--topology={text!r}: jax describes no GPUs that are not there; expected {EXPECTED}")
    found = re.fullmatch(r"\d+" if kind == "cpu" else r"\d+x\d+(x\d+)?", size, re.ASCII)
    shape = tuple(map(int, size.split("x"))) if found else ()
    if kind not in ("cpu", *MEMORY) or not shape or min(shape) < 1:
        raise UsageError(f"--topology={text!r}: expected {EXPECTED}")
    if kind == "cpu" and shape[0] > MOST_CPU_DEVICES:
        raise UsageError(f"--topology={text!r}: expected at most {MOST_CPU_DEVICES} devices")
    if kind in ("v5e", "v6e") and len(shape) != 2:
        raise UsageError(f"--topology={text!r}: slices of {kind} have two dimensions, as in {kind}:4x4")
    if kind in ("v4", "v5p") and len(shape) != 3:
        raise UsageError(f"--topology={text!r}: slices of {kind} have three dimensions, as in {kind}:2x2x4")
    return Topology(text, kind, shape)


def prepare(topology: Topology) -> None:
    """Sets the environment that jax reads when it starts: it runs on the CPU, in so many parts."""
    assert "jax" not in sys.modules, "jax has read its environment already"
    os.environ["JAX_PLATFORMS"] = "cpu"
    if topology.kind == "cpu":
        flags = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if "device_count" not in flag]
        os.environ["XLA_FLAGS"] = " ".join([*flags, f"--xla_force_host_platform_device_count={topology.size}"])
        return
    # libtpu must not look for the chips of this machine, nor ask a network that is not there about them.
    # What its own machine is said to be is not read, but has to be one that it knows.
    said = {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost", "TPU_ACCELERATOR_TYPE": "v5p-8"}
    said |= {"ALLOW_MULTIPLE_LIBTPU_LOAD": "1", "TPU_STDERR_LOG_LEVEL": "3", "TPU_MIN_LOG_LEVEL": "3"}
    for name, value in said.items():
        os.environ.setdefault(name, value)


def devices(topology: Topology) -> Sequence[jax.Device]:
    """Devices to compile for.

    Raises:
        UsageError: libtpu is not installed, or there is no such slice.
    """
    import jax
    from jax.experimental import topologies

    if topology.kind == "cpu":
        return jax.devices("cpu")
    options: dict = {"chip_config_name": "megacore"} if topology.kind == "v4" else {}  # one device a chip
    # What is smaller than a host's 2 x 2 chips is a part of one host.
    bounds = tuple(min(size, limit) for size, limit in zip((*topology.shape, 1), (2, 2, 1), strict=False))
    if bounds != (2, 2, 1):
        options["chips_per_host_bounds"] = bounds
    try:
        return topologies.get_topology_desc(topology.name, "tpu", **options).devices
    except Exception as error:  # jax and libtpu raise many kinds
        told = " ".join(str(error).split())
        if "not installed" in told:
            raise UsageError(
                f"--topology={topology.name!r}: compiling for TPU needs libtpu: pip install 'jax[tpu]'"
            ) from error
        raise UsageError(f"--topology={topology.name!r}: {told[:200]}") from error
