"""Traces of some steps, for XProf, TensorBoard and Perfetto."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import jax

from rl_reason.errors import UsageError


def parse_steps(text: str) -> range:
    """The steps that `config.profile` names: "3", "3-5", or none.

    Raises:
        UsageError: it is neither.
    """
    first, dash, last = text.partition("-")
    ends = first, last if dash else first
    if not text:
        return range(0)
    if not all(end.isdecimal() for end in ends) or not 1 <= int(ends[0]) <= int(ends[1]):
        raise UsageError(f"config.profile={text!r}: expected a step, as in 3, or the first and the last one, as in 3-5")
    return range(int(ends[0]), int(ends[1]) + 1)


class Trace:
    """Records what host and devices do in some steps, into a folder.

    Args:
        steps: consecutive ones.
        folder: `plugins/profile/TIME/` below it gets the traces of each host.
    """

    def __init__(self, steps: range, folder: Path):
        self._steps, self._folder = steps, folder
        self._is_on = False

    @contextlib.contextmanager
    def step(self, step: int, finish: Callable[[], object]) -> Iterator[None]:
        """A step; `finish` waits for what it has left to the devices."""
        if step not in self._steps:
            yield
            return
        if not self._is_on:
            jax.profiler.start_trace(self._folder, create_perfetto_trace=True)
            self._is_on = True
        try:
            with jax.profiler.StepTraceAnnotation("step", step_num=step):
                yield
        finally:
            if step == self._steps[-1]:
                finish()
                self.close()

    def close(self) -> None:
        """Writes what was recorded."""
        if self._is_on:
            self._is_on = False
            jax.profiler.stop_trace()
