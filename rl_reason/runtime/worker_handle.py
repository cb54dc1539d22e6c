"""The parent's side of one worker process: the process, and the pipes to it.

Workers are started as fresh interpreters rather than through `multiprocessing`: that would import the parent's main
module, and with it jax, into each of them. Only JSON passes through the pipes.
"""

from __future__ import annotations

import collections
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from rl_reason.errors import RunError
from rl_reason.runtime.worker_process import plain

_KEPT = ("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
"""Of the parent's environment, with `LC_…` and `PYTHON…`: what Python and locales need. Tokens and keys stay there."""
_ENVIRONMENT = {
    # A worker must never take hold of an accelerator, nor one thread per core for a scalar.
    "JAX_PLATFORMS": "cpu",
    "CUDA_VISIBLE_DEVICES": "",
    "TPU_VISIBLE_DEVICES": "",
    "ROCR_VISIBLE_DEVICES": "",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # Sets of texts have one order in all of them: what a worker computes follows from what it is given.
    "PYTHONHASHSEED": "0",
}


class Worker:
    """One process and the pipes to it.

    Args:
        preload: functions that it imports at once.
        memory_GiB: of its data (heap and anonymous mappings; libraries' code is not counted), on Linux; 0: no limit.
        environment: names of further variables of the parent's that it has.
    """

    def __init__(self, preload: Sequence[str], memory_GiB: float = 0, environment: Sequence[str] = ()):
        requests, self.to = os.pipe()
        self.replies, replies = os.pipe()
        lifeline, self._lifeline = os.pipe()
        program = (
            f"import sys; sys.path[:] = {sys.path!r}; from rl_reason.runtime.worker_process import main; "
            f"main({requests}, {replies}, {lifeline}, {int(memory_GiB * 2**30)})"
        )
        try:
            # What a function prints goes to stderr: stdout may be the parent's output. A session of its own keeps
            # Ctrl-C to the parent, and lets a kill reach the processes that a function started.
            self.process = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.DEVNULL,
                stdout=_stderr(),
                start_new_session=True,
                pass_fds=(requests, replies, lifeline),
                env=_environment(environment),
            )
        except OSError as error:
            raise RunError(f"cannot start a worker process: {error}") from error
        finally:
            for descriptor in (requests, replies, lifeline):
                os.close(descriptor)
        os.set_blocking(self.to, False)
        os.set_blocking(self.replies, False)
        self.outgoing = b""
        self.incoming = b""
        self.closed = False
        self.loaded: set[str] = set()
        self.loading: list[str] = []
        self.items: collections.deque[int] = collections.deque()
        """Items sent and not answered; the first is running."""
        self.dropping = False
        """Whether it was told to leave all but the running item to others, and has not yet confirmed that."""
        self.since = time.monotonic()
        """When the running item (or the import) began."""
        self.began = self.since
        self.given = 0
        """When it was given the latest items, and how many; 0 where not all of them were answered."""
        for function in preload:
            self.load(function)
        self.flush()  # So that it imports now, and not only when the first items are there.

    @property
    def is_idle(self) -> bool:
        return not (self.items or self.loading or self.dropping)

    def load(self, function: str) -> None:
        self.loading.append(function)
        self.send({"load": function})

    def drop(self) -> list[int]:
        """Takes back the items that are not yet running: these. The clock of the running one goes on."""
        self.dropping = True
        since = self.since
        self.send({"drop": True})
        self.since = since
        self.flush()
        running, *others = self.items
        self.items = collections.deque([running])
        return others

    def send(self, message: dict) -> None:
        self.outgoing += json.dumps(message, default=plain).encode() + b"\n"
        self.since = time.monotonic()

    def flush(self) -> None:
        """Writes as much as the pipe takes."""
        try:
            while self.outgoing:
                self.outgoing = self.outgoing[os.write(self.to, self.outgoing[: 1 << 16]) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self.outgoing = b""  # It died: the end of its replies will tell.

    def receive(self) -> tuple[list, bool]:
        """(complete messages that have come, whether the process closed its end)."""
        ended = False
        try:
            while data := os.read(self.replies, 1 << 16):
                self.incoming += data
            ended = True
        except BlockingIOError:
            pass
        *lines, self.incoming = self.incoming.split(b"\n")
        return [json.loads(line) for line in lines], ended

    def kill(self) -> None:
        """Kills the process and what it started; its pipes stay."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # It and all that it started are gone.
            pass

    def close(self) -> None:
        """Kills the process and what it started."""
        if self.closed:
            return
        self.closed = True
        self.kill()
        self.process.wait()
        for descriptor in (self.to, self.replies, self._lifeline):
            os.close(descriptor)

    def death(self) -> str:
        """How the process ended, in words."""
        try:
            code = self.process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            return "closed its pipe"
        if code >= 0:
            return f"ended with status {code}"
        try:
            return f"died of {signal.Signals(-code).name}"
        except ValueError:
            return f"died of signal {-code}"


def _environment(more: Sequence[str]) -> dict[str, str]:
    names = {name for name in os.environ if name in (*_KEPT, *more) or name.startswith(("LC_", "PYTHON"))}
    return {name: os.environ[name] for name in names} | _ENVIRONMENT


def _stderr() -> int:
    try:
        os.fstat(2)
    except OSError:  # The parent runs without one.
        return subprocess.DEVNULL
    return 2
