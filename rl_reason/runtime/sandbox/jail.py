"""The side of a sandbox that is outside: starts the jail, hands programs in, reads what comes out, ends them."""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rl_reason.errors import RunError
from rl_reason.runtime.sandbox import codec

ANSWER_LIMIT = 10.0
"""Seconds for what this project's own code does inside: to start, and to end what it started."""
OUTPUT = 1 << 24
"""Bytes of a script's output."""
SCRIPT_ENDS = ("ok", "failed", "unparseable")
"""What a script's process says of its end, if it comes to say so."""
_HERE = Path(__file__).resolve().parent


class Refused(RunError):
    """There is no isolation to be had here. The message says what is missing."""


class Jail:
    """A place where programs run, one grading at a time. A context manager.

    It has namespaces of its own (user, processes, net, IPC, mounts, host name, cgroups) and a file system of the
    interpreter and the system's libraries, read-only; each program in it gets new ones for processes, mounts and IPC,
    an empty /tmp, no capabilities, limits, and a filter of system calls.

    Args:
        isolated: False: no namespaces and all files of this user; what is left are limits, sessions and the filter.
    """

    def __init__(self, isolated: bool = True):
        self._isolated = isolated
        self._process: subprocess.Popen | None = None
        self._control: socket.socket | None = None

    def start(self) -> None:
        """Starts it, if it does not run.

        Raises:
            Refused: it cannot be isolated.
        """
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        self._control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(ANSWER_LIMIT)
        with control, tempfile.TemporaryFile() as errors:
            if self._isolated:
                command = [*_walls(), "/python/bin/python3", "-I", "-S", "-X", "utf8", "-c"]
                folder, root, session = "", "/inside", False
            else:
                command = [sys.executable, "-I", "-S", "-X", "utf8", "-c"]
                folder, root, session = tempfile.mkdtemp(prefix="rl_reason_program_"), str(_HERE.parents[2]), True
            program = f"from rl_reason.runtime.sandbox.inside import main; main({control.fileno()}, {folder!r})"
            self._process = subprocess.Popen(
                [*command, f"import sys; sys.path.append({root!r}); {program}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=[control.fileno()],
                env={},
                cwd=folder or "/",
                # A jail stays in the caller's session, and ends with its group; its inner processes have their own.
                start_new_session=session,
            )
            control.close()
            try:
                answer = self._control.recv(100)
            except OSError:
                answer = b""
            if answer != b"ready":
                self.close()
                errors.seek(0)
                told = errors.read(4000).decode(errors="replace").strip().splitlines()
                raise Refused(told[-1] if told else "the jail did not start")

    def examine(self, texts: Sequence[str], tests: str, entry_point: str, prompt: str, seconds: float) -> str:
        """Runs tests on a program that is in another process than they.

        Args:
            texts: the first that compiles is the program.
            tests: a module that raises where the program is wrong.
            entry_point: the function that they are about.
            prompt: where helpers of the tests may be defined; "" for none.
            seconds: for all of it.

        Returns:
            What `examiner.examine` writes, or "timeout".
        """
        with _pipes(5) as pipes:
            program, requests, replies, tests_, verdict = pipes
            self._begin("functions", [program[0], requests[0], replies[1]], seconds)
            self._begin("tests", [tests_[0], requests[1], replies[0], verdict[1]], seconds)
            feeds = {
                program[1]: codec.encode(list(texts), [], codec.nothing_else),
                tests_[1]: codec.encode((tests, entry_point, prompt), [], codec.nothing_else),
            }
            pipes.keep(program[1], tests_[1], verdict[0])
            collected, done = _exchange(feeds, {verdict[0]: 1000}, seconds)
        self._end()
        return (collected[verdict[0]].decode(errors="replace") or "crash") if done else "timeout"

    def run(self, texts: Sequence[str], given: str, seconds: float) -> tuple[str, str]:
        """Runs a program as a script.

        Args:
            texts: the first that compiles is the program.
            given: its standard input.
            seconds: for all of it.

        Returns:
            "ok", "failed" (it raised, exited with another status than 0, or wrote more than `OUTPUT`), "unparseable",
            "crash" or "timeout"; and what it wrote.
        """
        with _pipes(4) as pipes:
            program, input_, output, status = pipes
            self._begin("script", [input_[0], output[1], program[0], status[1]], seconds)
            feeds = {program[1]: codec.encode(list(texts), [], codec.nothing_else), input_[1]: given.encode()}
            pipes.keep(program[1], input_[1], output[0], status[0])
            collected, done = _exchange(feeds, {output[0]: OUTPUT, status[0]: 100}, seconds)
        self._end()
        ended = collected[status[0]].decode(errors="replace")
        if not done:
            return "timeout", ""
        if len(collected[output[0]]) > OUTPUT:
            return "failed", ""
        return ended if ended in SCRIPT_ENDS else "crash", collected[output[0]].decode(errors="replace")

    def close(self) -> None:
        """Kills it and all that is in it."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            # It kills what it started, and ends, when the other end is closed.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(ANSWER_LIMIT / 4)
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Jail:
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def _begin(self, role: str, descriptors: list[int], seconds: float) -> None:
        self.start()
        assert self._control is not None
        # Wall-clock time ends a program first; this is for one that the other side has lost.
        message = f"{role} {math.ceil(seconds) + 2}".encode()
        try:
            socket.send_fds(self._control, [message], descriptors)
            answer = self._control.recv(1000)
        except OSError as error:
            self.close()
            raise RunError(f"the sandbox does not answer: {error}") from error
        if answer != b"started":
            self.close()
            raise Refused(answer.decode(errors="replace") or "the sandbox died")

    def _end(self) -> None:
        """Ends what was begun; returns when nothing is left of it."""
        assert self._control is not None
        try:
            self._control.send(b"end")
            ended = self._control.recv(100) == b"ended"
        except OSError:
            ended = False
        if not ended:
            self.close()


class _pipes(contextlib.AbstractContextManager):
    """Pipes as pairs (reading end, writing end); all that is open is closed at the end."""

    def __init__(self, count: int):
        self._pairs = [os.pipe() for _ in range(count)]
        self._open = {end for pair in self._pairs for end in pair}

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._pairs)

    def __enter__(self) -> _pipes:
        return self

    def keep(self, *ends: int) -> None:
        """Closes all others: a pipe's end is seen when nobody holds the other one."""
        for end in self._open.difference(ends):
            os.close(end)
        self._open = set(ends)

    def __exit__(self, *error) -> None:
        for end in self._open:
            with contextlib.suppress(OSError):  # `_exchange` closes some.
                os.close(end)


def _exchange(
    feeds: Mapping[int, bytes], limits: Mapping[int, int], seconds: float
) -> tuple[dict[int, bytearray], bool]:
    """Writes to descriptors and closes them, while it reads others up to their ends, or one beyond its limit in bytes.

    Returns:
        What was read of each, and whether this came to an end in time.
    """
    deadline = time.monotonic() + seconds
    waiting = dict(feeds)
    collected = {descriptor: bytearray() for descriptor in limits}
    with selectors.DefaultSelector() as selector:
        for descriptor in feeds:
            os.set_blocking(descriptor, False)
            selector.register(descriptor, selectors.EVENT_WRITE)
        for descriptor in limits:
            selector.register(descriptor, selectors.EVENT_READ)
        reading = len(limits)
        while reading:
            left = deadline - time.monotonic()
            if left <= 0:
                return collected, False
            for key, _ in selector.select(left):
                descriptor = key.fd
                if descriptor in limits:
                    part = os.read(descriptor, 1 << 16)
                    collected[descriptor] += part
                    if not part:
                        selector.unregister(descriptor)
                        reading -= 1
                    elif len(collected[descriptor]) > limits[descriptor]:
                        return collected, True
                    continue
                try:
                    waiting[descriptor] = waiting[descriptor][os.write(descriptor, waiting[descriptor][: 1 << 16]) :]
                except BlockingIOError:
                    continue
                except BrokenPipeError:
                    waiting[descriptor] = b""
                if not waiting[descriptor]:
                    selector.unregister(descriptor)
                    os.close(descriptor)
    return collected, True


def _walls() -> list[str]:
    """The command of bubblewrap up to the program.

    Raises:
        Refused: it is not installed.
    """
    found = shutil.which("bwrap")
    if found is None:
        raise Refused("bubblewrap is not installed")
    base, interpreter = Path(sys.base_prefix), Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    command = [found, "--unshare-user", "--unshare-all", "--die-with-parent", "--new-session", "--as-pid-1"]
    command += ["--uid", "65534", "--gid", "65534", "--hostname", "sandbox"]
    # For the rooms inside; who lives in them has none.
    command += ["--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN"]
    command += ["--clearenv", "--setenv", "HOME", "/tmp", "--setenv", "LD_LIBRARY_PATH", "/python/lib"]
    for path in ("/usr/lib", "/usr/lib64"):
        command += ["--ro-bind-try", path, path]
    for path in ("/lib", "/lib64"):
        linked = Path(path).is_symlink()
        command += ["--symlink", os.readlink(path), path] if linked else ["--ro-bind-try", path, path]
    command += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    command += ["--ro-bind", str(interpreter), "/python/bin/python3"]
    for name in dict.fromkeys(("lib", sys.platlibdir)):
        command += ["--ro-bind-try", str(base / name), f"/python/{name}"]
        packages = (base / name / version / "site-packages", base / name / "python3" / "dist-packages")
        for folder in packages:  # The standard library is there, installed packages are not.
            if folder.is_dir():
                inside = f"/python/{folder.relative_to(base)}"
                command += ["--tmpfs", inside, "--remount-ro", inside]
    command += ["--ro-bind", str(_HERE), "/inside/rl_reason/runtime/sandbox"]
    command += ["--ro-bind", str(_HERE.parents[1] / "errors.py"), "/inside/rl_reason/errors.py"]
    for device in ("/dev/null", "/dev/zero", "/dev/urandom"):
        command += ["--dev-bind", device, device]
    return [*command, "--dir", "/tmp", "--remount-ro", "/", "--chdir", "/"]
