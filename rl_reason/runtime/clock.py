"""Seconds of a step's phases."""

from __future__ import annotations

import time

import jax

from rl_reason.runtime.watchdog import Watchdog


class Clock:
    """Phases follow each other without gaps: `begin` ends the one before. They are known to the watchdog, and stand in
    traces.

    Args:
        step: whose.
        watchdog: is told what is under way.
    """

    def __init__(self, step: int, watchdog: Watchdog):
        self._step, self._watchdog = step, watchdog
        self._annotation: jax.profiler.TraceAnnotation | None = None
        self._phase = ""
        self.restart()

    def restart(self) -> None:
        """Time up to now belongs to something else."""
        self.phases: dict[str, float] = {}
        self.started = self._last = time.monotonic()
        self._watchdog.feed(f"step {self._step}, at its start")

    def begin(self, phase: str) -> None:
        """The phase that begins now; the first one has begun with the clock. A second time, it goes on."""
        if self._phase:
            self.end()
        self._phase = phase
        self._annotation = jax.profiler.TraceAnnotation(phase)
        self._annotation.__enter__()
        self._watchdog.feed(f"step {self._step}, {phase}")

    def end(self) -> None:
        """The phase under way ends."""
        now = time.monotonic()
        self.phases[self._phase] = self.phases.get(self._phase, 0.0) + now - self._last
        self._last, self._phase = now, ""
        if self._annotation:
            self._annotation.__exit__(None, None, None)
            self._annotation = None

    @property
    def seconds(self) -> float:
        """From the start to the end of the last phase."""
        return self._last - self.started
