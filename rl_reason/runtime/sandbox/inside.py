"""What runs in a jail: a process that waits for programs, and starts each in a room of its own, by a fork.

So the interpreter and the modules that programs import most are loaded once. This process never reads what it starts:
nothing of an earlier program or of its tests is in the memory that the next one inherits.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import os
import shutil
import signal
import socket
from collections.abc import Callable

from rl_reason.runtime.sandbox import candidate, confine, examiner

ROLES: dict[str, tuple[Callable[[], None], tuple[int, ...]]] = {
    "functions": (candidate.functions, (3, 4, 5)),
    "script": (candidate.script, (0, 1, 3, 4)),
    "tests": (examiner.examine, (3, 4, 5, 6)),
}
"""What a started process does, and under which numbers it finds the descriptors that it gets."""
_WARM = (
    "bisect collections copy dataclasses datetime decimal fractions functools hashlib heapq itertools json math "
    "operator random re statistics string sys threading time typing"
)


def main(control: int, folder: str) -> None:
    """Answers requests until the other side closes.

    A request is "ROLE SECONDS" with descriptors, answered by "started", or why it could not be; or "end", which kills
    all that was started and is answered by "ended" when nothing of it is left.

    Args:
        control: a socket that keeps messages apart.
        folder: without isolation, where programs work; it goes with this process. "": this is process 1 of a jail, and
            rooms can be had.
    """
    isolated = not folder
    for name in _WARM.split():
        importlib.import_module(name)
    # What went wrong so far was told there; a program must not write to a file of the outside.
    os.dup2(1, 2)
    gc.freeze()  # What is collected in a child would be copied for it.
    started: list[int] = []
    # It came under the number that was free outside; here few are open, and all have low ones.
    low = os.dup(control)
    os.close(control)
    with socket.socket(fileno=low) as requests:
        requests.send(b"ready")
        while True:
            message, descriptors, _, _ = socket.recv_fds(requests, 100, 8)
            if not message:
                break
            if message == b"end":
                _end(started, isolated)
                requests.send(b"ended")
                continue
            role, seconds = message.decode().split()
            pid = os.fork()
            if pid == 0:
                _enter(requests, role, descriptors, int(seconds), isolated)
            for descriptor in descriptors:
                os.close(descriptor)
            if isolated:
                os.waitpid(pid, 0)  # The one that entered the room; who lives there was answered for, or it failed.
            else:
                started.append(pid)
    _end(started, isolated)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


def _enter(requests: socket.socket, role: str, descriptors: list[int], seconds: int, isolated: bool) -> None:
    """In the forked process: takes all rights away, then does what its role is. Never returns."""
    try:
        if isolated:
            confine.enter_room()
            confine.drop_capabilities()
            if os.fork():  # Only what is forked from here is in the new namespace of processes, as its first one.
                os._exit(0)
        os.setsid()
        confine.limit_resources(seconds)
        run, numbers = ROLES[role]
        confine.filter_system_calls()
        requests.send(b"started")
        requests.close()
    except BaseException as error:
        requests.send(f"{type(error).__name__}: {error}"[:500].encode())
        os._exit(1)
    try:
        _keep(descriptors, numbers)
        run()
    finally:
        os._exit(1)


def _keep(descriptors: list[int], numbers: tuple[int, ...]) -> None:
    """Gives descriptors these numbers, and closes all others but the standard ones."""
    # First to numbers that are beyond all of them.
    beyond = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 32) for descriptor in descriptors]
    for descriptor, number in zip(beyond, numbers, strict=True):
        os.dup2(descriptor, number)
    os.closerange(max(numbers) + 1, 256)


def _end(started: list[int], isolated: bool) -> None:
    if isolated and os.getpid() == 1:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)  # All in this jail, and in no other place: rooms lie within it.
    for pid in started:
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(pid, signal.SIGKILL)
    started.clear()
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
