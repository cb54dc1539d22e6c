"""SIGTERM, by which a scheduler says that it takes the machine away: what is done is saved.

On several hosts jax's own service agrees on the moment, so that all save the same step.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

import jax
from jax.experimental import multihost_utils

from rl_reason.errors import PREEMPTED, tell

GRACE_SECONDS = 25.0
"""What is under way and its checkpoint may take; schedulers kill after 30 seconds."""
PATIENCE_SECONDS = 5.0
"""For which a step that is nearly done is waited for."""


class Preemption:
    """A context in which SIGTERM is noticed instead of obeyed.

    A signal handler of Python waits for the main thread, which may be inside a compilation; a thread that is woken by
    the signal itself does not: while the main thread is in the middle of a long step, it saves what was done before and
    ends the process; where nothing can be saved, when the grace is over.

    Args:
        save: called from that thread, again until it returns the line with which the run ends; "" while there is
            nothing that could be saved.
        grace: seconds between the signal and the end.
    """

    def __init__(self, save: Callable[[], str], grace: float = GRACE_SECONDS):
        self._save, self._grace = save, grace
        self._requested, self._left, self._asked = threading.Event(), threading.Event(), 0
        self._active = jax.process_count() == 1 and threading.current_thread() is threading.main_thread()

    def requested(self) -> bool:
        """Whether to save and stop now. Several hosts ask at the same moments of a run, and all hear the same."""
        self._asked += 1
        if jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(self._asked):
            self._requested.set()  # jax's service says so once.
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
        self._left.set()
        if self._active:
            signal.signal(signal.SIGTERM, self._handler_before)
            signal.set_wakeup_fd(self._wakeup_before)
            os.close(self._writer)

    def _watch(self, reader: int) -> None:
        try:
            while number := os.read(reader, 1):
                if number[0] == signal.SIGTERM:
                    self._requested.set()
                    self._end()
        finally:
            os.close(reader)

    def _end(self) -> None:
        ends = time.monotonic() + self._grace
        line, status = "", PREEMPTED
        self._left.wait(min(PATIENCE_SECONDS, self._grace))
        try:
            # Where the main thread has left, it has saved and is about to end.
            while time.monotonic() < ends and (self._left.is_set() or not (line := self._save())):
                time.sleep(0.1)
        except Exception as error:
            status = tell(error)
        else:
            print(
                line
                or f"SIGTERM: the step did not end within {self._grace:g} s; the newest checkpoint stays, and the same "
                "command goes on behind it",
                file=sys.stderr,
            )
        sys.stderr.flush()
        os._exit(status)
