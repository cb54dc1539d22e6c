"""The processes of a run watch each other, so that when one is gone the others say which and stop.

Left to itself a process waits for ever for what the dead one was to send, or fails in the transport with a page that
names nobody. What travels between them are keys of jax's coordination service, which lives in process 0; where that one
is gone, jax itself may be faster and end the others at once, saying so.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from typing import Any

import jax

# jax has no public name for the client of its own service; orbax takes it from there too.
from jax._src import distributed

BEAT_SECONDS = 2.0
"""Between two signs of life."""
LIMIT_SECONDS = 25.0
"""A process that has given none for so long is gone. Less than the time after which jax aborts."""
ALIVE, GONE = "rl_reason/alive", "rl_reason/gone"
"""Folders of keys: a sign of life of each process, and the line with which the run stops."""


class Peers:
    """Gives signs of life from a thread, and ends this process where another one is gone.

    Process 0 watches the others, and they watch process 0: it tells them what it has found.
    """

    def __init__(self) -> None:
        self._client: Any = distributed.global_state.client
        self._number, self._count = distributed.global_state.process_id, distributed.global_state.num_processes
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peers", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """The others may be gone from now on."""
        self._stopped.set()
        self._thread.join()

    def leave(self, reason: str) -> None:
        """Tells the others why this process ends, in one line."""
        self._stopped.set()
        self._tell(f"process {self._number} ({socket.gethostname()}) ended: {reason}")

    def wait(self) -> None:
        """To be called where something failed, which may be what another process's end looks like from here: returns
        when all others have given signs of life since, and not at all if one of them turns out to be gone."""
        last = time.monotonic() + LIMIT_SECONDS + 8 * BEAT_SECONDS  # Behind all that the watching thread may take.
        before: dict[str, int] | None = None
        while time.monotonic() < last:
            try:
                beats = {key: int(sign.split()[0]) for key, sign in self._client.key_value_dir_get(ALIVE)}
            except jax.errors.JaxRuntimeError:
                beats = {}  # Process 0 is gone: the watching thread will say so.
            before = before or beats
            # The second beat from here on: the first may have been under way when its process ended.
            if len(beats) == self._count and all(beats[key] >= before.get(key, 0) + 2 for key in beats):
                return
            time.sleep(BEAT_SECONDS / 4)

    def _tell(self, line: str) -> None:
        try:
            self._client.key_value_set(f"{GONE}/line", line)
        except jax.errors.JaxRuntimeError:
            pass  # Another one was first, or process 0 is gone, which the others see by themselves.

    def _watch(self) -> None:
        seen = {number: ("", time.monotonic()) for number in range(self._count)}
        beats, answered = 0, time.monotonic()
        while not self._stopped.wait(BEAT_SECONDS):
            beats += 1
            found = None
            try:
                sign = f"{beats} {socket.gethostname()}"
                self._client.key_value_set(f"{ALIVE}/{self._number}", sign, allow_overwrite=True)
                gone = next((line for _, line in self._client.key_value_dir_get(GONE)), None)
                if gone is None and self._number == 0:
                    found = gone = self._find_silent(seen)
                answered = time.monotonic()
            except jax.errors.JaxRuntimeError:
                # A service that is there may be slow; one whose process is gone refuses at once.
                if time.monotonic() - answered < LIMIT_SECONDS / 2:
                    continue
                gone = f"process 0 ({distributed.global_state.coordinator_address}) does not answer"
            if found:
                self._tell(found)
                time.sleep(2 * BEAT_SECONDS)  # The others have to hear it from this process.
            if gone and not self._stopped.is_set():
                print(f"error: {gone}; the run stops", file=sys.stderr, flush=True)
                os._exit(1)

    def _find_silent(self, seen: dict[int, tuple[str, float]]) -> str | None:
        """A line about a process of which nothing new was seen for too long. Updates `seen`: sign and time of each."""
        signs = dict(self._client.key_value_dir_get(ALIVE))
        for number, (before, since) in seen.items():
            sign = signs.get(f"{ALIVE}/{number}", "")
            if sign != before:
                seen[number] = sign, time.monotonic()
            elif time.monotonic() - since > LIMIT_SECONDS:
                place = f" ({sign.split()[-1]})" if sign else ""
                return f"process {number}{place} has not been heard of for {time.monotonic() - since:.0f} s"
        return None
