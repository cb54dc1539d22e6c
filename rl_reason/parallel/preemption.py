"""SIGTERM, by which a scheduler says that it takes the machine away: the step under way is finished and saved.

On several hosts jax's own service agrees on the step, so that all save the same one.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import TracebackType

import jax
from jax.experimental import multihost_utils

from rl_reason.errors import PREEMPTED

GRACE_SECONDS = 25.0
"""What a step that is under way and its checkpoint may take; schedulers kill after 30 seconds."""


class Preemption:
    """A context in which SIGTERM is noticed instead of obeyed.

    A signal handler of Python waits for the main thread, which may be inside a compilation; a thread that is woken by
    the signal itself does not. It ends the process when the grace is over, whatever is under way.

    Args:
        grace: seconds between the signal and that end.
    """

    def __init__(self, grace: float = GRACE_SECONDS):
        self._grace = grace
        self._requested = threading.Event()
        self._active = jax.process_count() == 1 and threading.current_thread() is threading.main_thread()

    def requested(self, step: int) -> bool:
        """Whether to save and stop behind this step. Several hosts ask at every step, and all hear the same."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._requested.is_set()

    def __enter__(self) -> Preemption:
        if self._active:
            reader, self._writer = os.pipe()
            os.set_blocking(self._writer, False)
            self._wakeup_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
            self._handler_before = signal.signal(signal.SIGTERM, lambda *_: None)
            threading.Thread(target=self._watch, args=(reader,), name="preemption", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._active:
            signal.signal(signal.SIGTERM, self._handler_before)
            signal.set_wakeup_fd(self._wakeup_before)
            os.close(self._writer)

    def _watch(self, reader: int) -> None:
        try:
            while number := os.read(reader, 1):
                if number[0] == signal.SIGTERM:
                    self._requested.set()
                    time.sleep(self._grace)
                    print(
                        f"SIGTERM: the step did not end within {self._grace:g} s; the newest checkpoint stays, and the "
                        "same command goes on behind it",
                        file=sys.stderr,
                        flush=True,
                    )
                    os._exit(PREEMPTED)
        finally:
            os.close(reader)
