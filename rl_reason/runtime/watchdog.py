"""Tells where a run stands that does not get on: in which phase, for how long, and what every thread is doing."""

from __future__ import annotations

import faulthandler
import sys
import threading
import time
from pathlib import Path
from types import TracebackType


class Watchdog:
    """A context whose thread reports when it has not been fed for too long, and again each time that the wait has
    doubled. The run goes on: what is slow may end.

    Args:
        seconds: between two feeds before the first report; 0: there is none.
        file: where reports go beside standard error.
    """

    def __init__(self, seconds: float, file: Path):
        self._limit, self._file = seconds, file
        self._changed = threading.Condition()
        self._what, self._since = "before the first step", time.monotonic()
        self._is_open = True
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def feed(self, what: str) -> None:
        """Something begins."""
        with self._changed:
            self._what, self._since = what, time.monotonic()
            self._changed.notify()

    def __enter__(self) -> Watchdog:
        if self._limit:
            self._since = time.monotonic()
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_open = False
            self._changed.notify()
        if self._limit:
            self._thread.join()

    def _watch(self) -> None:
        with self._changed:
            limit, watched = self._limit, self._since
            while self._is_open:
                if self._since != watched:
                    limit, watched = self._limit, self._since
                waited = time.monotonic() - watched
                if waited >= limit:
                    self._report(waited)
                    limit *= 2
                self._changed.wait(max(limit - waited, 0))

    def _report(self, waited: float) -> None:
        line = f"watchdog: {self._what}: {waited:.0f} s. What every thread is doing, the innermost call first:\n"
        for write in (sys.stderr, self._file.open("a", encoding="utf-8")):
            write.write(line)
            write.flush()
            faulthandler.dump_traceback(write, all_threads=True)
        write.close()
