"""Runs of benchmarks in processes of their own, watched."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from benchmarks import machine
from rl_reason.errors import RunError
from rl_reason.runtime.progress import Progress

ROOT = Path(__file__).parents[1]


def call(command: Sequence[str], progress: Progress, *, memory: float, minutes: float) -> None:
    """Runs a command in the project's folder and shows the lines of its steps.

    Args:
        command: with its arguments.
        progress: where the lines are shown.
        memory: share of the machine's memory above which it is stopped.
        minutes: after which it is stopped.

    Raises:
        RunError: it failed or was stopped; says why.
    """
    last: deque[str] = deque(maxlen=100)
    stopped: list[str] = []
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        watch = threading.Thread(target=_watch, args=(process, memory, minutes, stopped), daemon=True)
        watch.start()
        assert process.stdout is not None
        for line in process.stdout:
            last.append(line.rstrip())
            if re.match(r"step \d", line):
                progress.note(f"  {line.rstrip()}")
    watch.join()
    if stopped or process.returncode:
        raise RunError(stopped[0] if stopped else reason(process.returncode, last))


def _watch(process: subprocess.Popen, memory: float, minutes: float, stopped: list[str]) -> None:
    """Ends the process where it takes too much; the reason goes to `stopped`. The machine's own way to end one that
    has taken all memory might hit another."""
    began, limit = time.monotonic(), memory * machine.describe(gpu=False)["memory_bytes"]
    while process.poll() is None:
        if _resident(process.pid) > limit:
            stopped.append(f"out of memory: more than {limit / 2**30:.1f} GiB")
        elif time.monotonic() - began > 60 * minutes:
            stopped.append(f"took more than {minutes:g} minutes")
        if stopped:
            process.kill()
            return
        time.sleep(0.2)


def _resident(pid: int) -> int:
    """Bytes of resident memory; 0 for a process that has ended."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * 4096


def reason(status: int, last: Sequence[str]) -> str:
    """Why a process failed, in one line: its last error line, without folders, or the signal that ended it."""
    if status < 0:
        return f"ended by signal {-status}" + (" (out of memory?)" if status == -9 else "")
    errors = [line for line in last if re.match(r"[\w.]*(Error|Exception|Interrupt)\b|error:", line)]
    found = errors or [line for line in last if line.strip()] or ["no output"]
    text = re.sub(r"(?<!\S)/\S*/", "", " ".join(found[-1].split()))
    return f"exit status {status}: {text[:200]}"
