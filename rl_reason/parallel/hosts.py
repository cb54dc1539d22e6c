"""Several processes that run the same program on the devices of all of them: jax's multi-controller runtime.

Every host runs the same command and takes the same decisions. What differs: each tokenizes its share of the prompts and
grades its share of the completions, and only the first writes files and shows progress.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax._src import distributed
from jax.experimental import multihost_utils
from jax.sharding import Sharding

from rl_reason.errors import Preempted, RunError, UsageError, tell
from rl_reason.parallel.peers import Peers


@contextlib.contextmanager
def joined(
    coordinator: str = "", processes: int = 0, process: int = -1, *, preemptible: bool = False
) -> Iterator[None]:
    """A context in which the processes of this run work together. Comes before anything that touches a device.

    Without arguments they are found where jax can find them: on a TPU pod, under SLURM and under Open MPI. On a
    machine by itself nothing happens.

    Args:
        coordinator: "host:port" of process 0.
        processes: how many there are.
        process: which of them this is, from 0.
        preemptible: whether what they do asks `parallel.preemption` if it shall stop. From the beginning SIGTERM is
            noticed then; else it ends a process as usual.

    A process that fails says why, to the others too, and ends at once, without the usual farewell: that would wait for
    the others, which are waiting for it. They name it and stop (`peers`).

    Raises:
        UsageError: arguments that do not fit together.
        RunError: the others did not answer.
    """
    # jax's service takes SIGTERM over, also where nobody ever asks it.
    jax.config.update("jax_enable_preemption_service", preemptible)
    _connect(coordinator, processes, process)
    if (distributed.global_state.num_processes or 1) == 1:
        yield
        return
    peers = Peers()
    try:
        yield
    except Preempted:  # All of them, behind the same step: they take leave of each other as at the end.
        wait("preempted")
        peers.stop()
        raise
    except BaseException as error:
        if not isinstance(error, UsageError):
            peers.wait()
        peers.leave(" ".join(str(error).split())[:200] or type(error).__name__)
        status = tell(error)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    wait("done")
    peers.stop()


def _connect(coordinator: str, processes: int, process: int) -> None:
    if coordinator or processes or process != -1:
        if coordinator.count(":") < 1 or processes < 1 or not 0 <= process < processes:
            raise UsageError(
                f"--coordinator={coordinator!r} --processes={processes} --process={process}: "
                "expected HOST:PORT, a number N of processes, and 0 to N−1"
            )
        start = functools.partial(
            jax.distributed.initialize, coordinator, processes, process, cluster_detection_method="deactivate"
        )
    elif _among_others():
        start = functools.partial(jax.distributed.initialize)
    else:
        return
    try:
        start()
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(f"the processes of this run could not be joined: {reason}") from error


def _among_others() -> bool:
    """Whether this process was started as one of several, as far as the environment says."""
    counts = {"SLURM_NTASKS": "SLURM_STEP_NODELIST", "OMPI_COMM_WORLD_SIZE": "OMPI_COMM_WORLD_RANK"}
    if any(int(os.environ.get(count, 1)) > 1 and task in os.environ for count, task in counts.items()):
        return True
    # jax, when it is imported, marks the machines that have no TPU. A TPU machine by itself is a cluster of one.
    has_tpu = importlib.util.find_spec("libtpu") is not None and "TPU_SKIP_MDS_QUERY" not in os.environ
    return has_tpu and "tpu" in os.environ.get("JAX_PLATFORMS", "tpu")


def is_first() -> bool:
    """Whether this is the host that writes files and shows progress."""
    return jax.process_index() == 0


def wait(name: str) -> None:
    """Returns when all hosts have come here; `name` is the same on all."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def share(count: int) -> slice:
    """Which of `count` things are this host's to do: a run of consecutive ones."""
    hosts, host = jax.process_count(), jax.process_index()
    return slice(count * host // hosts, count * (host + 1) // hosts)


def gather(value: Any) -> list[Any]:
    """Every host's value, in the order of the hosts. Values are such as JSON holds; NaN is allowed."""
    if jax.process_count() == 1:
        return [value]
    mine = np.frombuffer(json.dumps(value).encode(), np.uint8)
    lengths = multihost_utils.process_allgather(np.int32(mine.size))
    # A power of two: each other length would be compiled anew.
    width = 1 << (int(lengths.max()) - 1).bit_length()
    padded = multihost_utils.process_allgather(np.pad(mine, (0, width - mine.size)))
    return [json.loads(bytes(row[:length])) for row, length in zip(padded, lengths, strict=True)]


def place(array: np.ndarray, sharding: Sharding) -> jax.Array:
    """An array that every host holds, on the mesh."""
    if sharding.is_fully_addressable:
        return jax.device_put(array, sharding)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def fetch(tree: Any) -> Any:
    """The tree's arrays as numpy, whole, on every host; waits for them."""

    def is_here(x: Any) -> bool:
        return not isinstance(x, jax.Array) or x.is_fully_addressable or x.is_fully_replicated

    if all(is_here(x) for x in jax.tree.leaves(tree)):
        return jax.device_get(tree)
    return multihost_utils.process_allgather(tree, tiled=True)
