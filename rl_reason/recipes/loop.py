"""What every training loop does around its steps: records, evaluation, checkpoints, and an eye on what goes wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import resource
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np

from rl_reason.errors import Preempted
from rl_reason.models import flops
from rl_reason.models.config import ModelConfig
from rl_reason.models.weights import Params
from rl_reason.parallel import company, hosts
from rl_reason.parallel.preemption import Preemption
from rl_reason.recipes.records import Records
from rl_reason.recipes.setup import Model
from rl_reason.recipes.state import State, without_frozen
from rl_reason.runtime.checkpoints import Checkpoints
from rl_reason.runtime.clock import Clock
from rl_reason.runtime.metrics import MetricsWriter
from rl_reason.runtime.progress import Progress
from rl_reason.runtime.trace import Trace, parse_steps
from rl_reason.runtime.watchdog import Watchdog
from rl_reason.runtime.workdir import Workdir
from rl_reason.settings import Settings

COMPILED = "/jax/core/compile/backend_compile_duration"
GIB = 2**30

Evaluate = Callable[[Params, int, bool], float | None]
"""`evaluate(params, step, full)` writes records; returns the score by which the best checkpoints are found."""


class Loop:
    """A context; iterating over it gives the steps that are left to do. A step is made of

        clock = loop.clock(step)      then work that the step before need not have finished,
        loop.previous(clock)          waits for that, and writes its record,
        clock.begin("sample")         ... the phases, with
        loop.give_way()               behind each that may be long,
        loop.update(clock)            the last of which is the update, for which the state is given away,
        loop.pend(...)                keeps what the record will need,
        loop.end(...)                 evaluates and saves where it is time, stops the run that was told to.

    A run that is told to stop saves the step that it has finished last, also in the middle of the next one or of an
    evaluation, which is then made when the run goes on: hence `loop.begin(...)` before the first step.

    Args:
        settings: of the run.
        model: that is trained.
        workdir: where all is written.
        start: steps that are behind.
        shown: beside the progress bar: label → name of the metric.
        others: further files of records.
    """

    def __init__(
        self,
        settings: Settings,
        model: Model,
        workdir: Workdir,
        start: int,
        shown: Mapping[str, str],
        others: Iterable[Path] = (),
    ):
        self._settings, self._model, self._workdir = settings, model, workdir
        self._start, self._shown, self._others = start, shown, others
        self._between: dict[str, float] = {}
        self._compilations = 0
        self._exits = contextlib.ExitStack()
        # What would be saved if the run had to stop now; None while the state is given away. And what comes in its
        # place when the step's record is written.
        self._done: _Done | None = _Done(start, None)
        self._next: _Done | None = None
        self._saving = threading.RLock()

    def __enter__(self) -> Loop:
        settings, workdir, enter = self._settings, self._workdir, self._exits.enter_context
        first, kept = hosts.is_first(), settings.checkpoint
        self._checkpoints = enter(Checkpoints(workdir.checkpoints, kept.keep, kept.keep_best, start=self._start))
        self._owed = self._start == 0 or not self._checkpoints.data_state(self._start)["evaluated"]
        self._preemption = enter(Preemption(self._save_done))
        evaluated, wandb = self._start - self._owed, settings.log.wandb
        self.metrics = enter(
            MetricsWriter(
                workdir, self._start or -1, enabled=first, others=self._others, evaluated=evaluated, wandb=wandb
            )
        )
        self.progress = enter(Progress(settings.steps, self._start, "train", enabled=company.shows()))
        hangs = workdir.path / f"hangs_{jax.process_index()}.txt"
        self._watchdog = enter(Watchdog(settings.watchdog, hangs))
        self._trace = Trace(parse_steps(settings.profile), workdir.path / "profile")
        self._exits.callback(self._trace.close)
        jax.monitoring.register_event_duration_secs_listener(self._listen)
        self._exits.callback(jax.monitoring.unregister_event_duration_listener, self._listen)
        self._records = Records(workdir, self.metrics, self.progress, settings.log.every, self._shown)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.__exit__(kind, error, trace)

    def __iter__(self) -> Iterator[int]:
        for step in range(self._start + 1, self._settings.steps + 1):
            with self._trace.step(step, self._records.finish):
                yield step

    def begin(self, state: State, evaluate: Evaluate) -> None:
        """Evaluates what the run begins with, unless that was done."""
        if self._owed:
            evaluate(state["train"].policy, self._start, self._start in (0, self._settings.steps))

    def clock(self, step: int) -> Clock:
        """Begins a step's time, unless the step before is still under way (`previous`)."""
        return Clock(step, self._watchdog)

    def previous(self, clock: Clock) -> None:
        """Finishes the step before, if it is under way; up to then the time was that step's."""
        if self._finish():
            clock.restart()

    def give_way(self) -> None:
        """A place in the middle of a step or an evaluation where several hosts can stop, all of them or none. One host
        by itself is stopped anywhere (`parallel.preemption`).

        Raises:
            Preempted: they were told to, and the step that was finished last is saved.
        """
        if jax.process_count() > 1 and self._preemption.requested() and (line := self._save_done()):
            raise Preempted(line)

    def update(self, clock: Clock) -> None:
        """Begins the phase in which the state is donated.

        Raises:
            Preempted: see `give_way`.
        """
        self.give_way()
        with self._saving:
            self._done = self._next = None
        clock.begin("update")

    def pend(
        self,
        step: int,
        clock: Clock,
        batch: Mapping[str, np.ndarray],
        updated: Sequence[dict[str, jax.Array]],
        values: Mapping[str, float],
        samples: Sequence[dict] = (),
        flops: float = 0.0,
    ) -> None:
        """Keeps a step whose updates are dispatched until they have run.

        Args:
            step: its number.
            clock: its clock, in the phase of the update.
            batch: its arrays, for the case that they break the run.
            updated: metrics of the updates, on the device.
            values: metrics of the host.
            samples: records of completions.
            flops: that the models' products needed (`models.flops`).
        """
        made = {**values, **self._between, **memory(), "compilations": self._compilations}
        self._between, self._compilations = {}, 0
        if flops:
            made["flops"] = flops
        peak = len(jax.devices()) * (_peak(self._model) or 0)
        self._records.pend(step, clock, batch, updated, made, samples, peak)

    def end(self, step: int, state: State, position: Mapping[str, Any], evaluate: Evaluate) -> None:
        """Evaluates and saves, each where it is time for it.

        Raises:
            Preempted: the run was told to stop, and is saved.
        """
        settings = self._settings
        clock, score = self.clock(step), None
        self._next = _Done(step, without_frozen(state), dict(position))
        if is_due(step, settings.evaluation.every, settings.steps):
            self._next = dataclasses.replace(self._next, evaluated=False)
            self._finish()
            clock = self.clock(step)
            clock.begin("evaluate")
            score = evaluate(state["train"].policy, step, step == settings.steps)
            clock.end()
            self._next = dataclasses.replace(self._next, evaluated=True)
        preempted = self._preemption.requested()
        if preempted or is_due(step, settings.checkpoint.every, settings.steps):
            if self._finish():
                clock = self.clock(step)
            clock.begin("save")
            with self._saving:
                self._checkpoints.save(step, self._next.state, self._next.data_state, score)
                self._done = self._next = _Done(step, None)
            clock.end()
        self._between = {f"time/{phase}_s": seconds for phase, seconds in clock.phases.items()}
        if preempted and step < settings.steps:
            raise Preempted(_line(step))

    def _finish(self) -> bool:
        """Writes the record of the step that is under way, if one is; what it has made can then be saved."""
        finished = self._records.finish()
        with self._saving:
            self._done = self._next or self._done
        return finished

    def _save_done(self) -> str:
        """Saves the step that was finished last, and waits for it. The line to end with; "" while there is none."""
        with self._saving:
            if (done := self._done) is None:
                return ""
            if done.state is not None:
                self._checkpoints.save(done.step, done.state, done.data_state)
            self._checkpoints.wait()
            return _line(done.step)

    def _listen(self, event: str, *_: Any, **__: Any) -> None:
        self._compilations += event == COMPILED


@dataclasses.dataclass(frozen=True)
class _Done:
    """A finished step: its number, its state (None: nothing that is not in a checkpoint), where the data stand."""

    step: int
    state: State | None
    position: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    evaluated: bool = True

    @property
    def data_state(self) -> dict[str, Any]:
        return {"position": self.position, "evaluated": self.evaluated}


def _line(step: int) -> str:
    if step == 0:
        return "SIGTERM: no step was finished; the same command starts anew"
    return f"SIGTERM: saved behind step {step}; the same command goes on there"


def is_due(step: int, every: int, steps: int) -> bool:
    """True every so many steps (0: never), and at the last one."""
    return step == steps or (every > 0 and step % every == 0)


def memory() -> dict[str, float]:
    """Greatest memory so far, GiB: of a device of this host, where the backend counts it, and of this process."""
    of_process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    made = {"memory/host_GiB": of_process * (1 if sys.platform == "darwin" else 1024) / GIB}
    counted = [device.memory_stats() or {} for device in jax.local_devices()]
    peaks = [one["peak_bytes_in_use"] for one in counted if "peak_bytes_in_use" in one]
    return made | ({"memory/device_GiB": max(peaks) / GIB} if peaks else {})


def _peak(model: Model) -> float | None:
    return flops.peak(jax.devices()[0].device_kind, model.dtype.name)


def forward_flops(config: ModelConfig, batch: Mapping[str, np.ndarray]) -> float:
    """What one pass over a batch of `rollout.make_batch` needs, prompts once a question."""
    completions_B = batch["mask"].sum(axis=1).astype(int)
    prompts_B = (batch["segments"][:, : -batch["mask"].shape[1]] > 0).sum(axis=1)
    _, first_Q = np.unique(batch["questions"], return_index=True)
    return flops.forward(config, prompts_B[first_Q], prompts_B, completions_B)
