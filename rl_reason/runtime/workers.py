"""A pool of worker processes that can be killed: functions of plain values, each call under its own time limit."""

from __future__ import annotations

import collections
import functools
import selectors
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rl_reason.errors import RunError
from rl_reason.runtime.worker_handle import Worker

START_LIMIT = 120.0
"""Seconds a worker may take to start and to import a function; not counted against the calls."""
_CHUNK_ITEMS = 64
_CHUNK_BYTES = 1 << 18
_CHUNK_S = 0.05
"""A worker is given items for about so long."""
_STUCK_S = 0.2
"""After so long with one item, what lies behind it goes to a worker that has nothing to do."""
_START_ATTEMPTS = 3


@dataclass(frozen=True)
class Outcome:
    """How one call ended."""

    status: str
    """"ok", "error" (it raised), "timeout" (killed at the limit) or "crash" (its process died)."""
    value: Any = None
    """What the function returned, as plain JSON values; None unless "ok"."""
    message: str = ""
    """One line about what went wrong; empty if "ok"."""


class Pool:
    """Worker processes. A context manager; the processes also end when the parent does, in whatever way.

    Args:
        workers: number of processes.
        preload: functions ("package.module:function") that the workers import while the parent does other things.
        memory_GiB: of each worker, see `worker_handle.Worker`; a call that needs more is a crash. 0: no limit.
        environment: names of variables that the workers have of the parent's environment, beside what Python needs.
    """

    def __init__(
        self, workers: int, preload: Sequence[str] = (), memory_GiB: float = 0, environment: Sequence[str] = ()
    ):
        if workers < 1:
            raise ValueError(f"workers={workers}: expected at least 1")
        self._new = functools.partial(Worker, list(preload), memory_GiB, list(environment))
        self._closing = threading.Event()
        self._workers = [self._start() for _ in range(workers)]
        self._spares: list[Worker] = []
        self._lock = threading.Lock()
        self._finalizer = weakref.finalize(self, _close_all, self._workers, self._spares)

    def map(
        self, function: str, items: Sequence[Sequence], timeout_s: float, progress: Callable[[int], None] | None = None
    ) -> list[Outcome]:
        """Calls `function(*item)` for each item in the workers.

        Of n workers, k items that hang delay the end by k/n times the limit, rounded up, and less than a second: the
        worker that takes the place of one that is killed is started, and has imported what it needs, before the limit
        is over, and what was to follow an item that hangs goes to other workers.

        Args:
            function: "package.module:function", importable with the parent's `sys.path` and working directory.
            items: the arguments of each call, plain JSON values.
            timeout_s: seconds that one call may take.
            progress: called with the number of items that ended since the last time.

        Returns:
            One outcome for each item, in order.

        Raises:
            RunError: the function cannot be imported in a worker, workers cannot be started, or the pool was closed.
        """
        with self._lock:
            self._check_open()
            return _Map(self._workers, self._spares, self._start, function, items, timeout_s, progress).run()

    def close(self) -> None:
        """Ends the workers; further calls do nothing. A `map` in another thread ends with an error."""
        self._closing.set()
        # Its workers are killed first, which it hears of; their pipes are closed when it reads them no longer.
        while not self._lock.acquire(timeout=0.05):
            for worker in [*self._workers, *self._spares]:
                if not worker.closed:  # Of one that is, the number may be another's by now.
                    worker.kill()
        try:
            self._finalizer()
        finally:
            self._lock.release()

    def _start(self) -> Worker:
        self._check_open()
        return self._new()

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise RunError("the pool of workers is closed")

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *error) -> None:
        self.close()


class _Map:
    """One call of `Pool.map`."""

    def __init__(
        self,
        workers: list[Worker],
        spares: list[Worker],
        start: Callable[[], Worker],
        function: str,
        items: Sequence[Sequence],
        timeout_s: float,
        progress: Callable[[int], None] | None,
    ):
        self.workers, self.spares, self.start = workers, spares, start
        self.function, self.timeout_s, self.progress = function, timeout_s, progress
        self.items = [list(item) for item in items]
        self.outcomes: list[Outcome | None] = [None] * len(self.items)
        self.queue = collections.deque(range(len(self.items)))
        self.left = len(self.items)
        self.failed_starts = 0
        self.most = max(1, min(_CHUNK_ITEMS, len(self.items) // (4 * len(workers))))
        self.share = min(self.most, 4)
        """Items that a worker is given at once; more when they are known to be quick."""

    def run(self) -> list[Outcome]:
        try:
            while self.left:
                for place, worker in enumerate(self.workers):
                    if worker.is_idle and worker.process.poll() is not None:
                        self._replace(place)  # It died between two calls: nobody's fault.
                    self._give(self.workers[place])
                    self.workers[place].flush()
                self._share_out()
                for worker in self._wait():
                    self._take(worker)
                self._enforce()
        except BaseException:
            # Answers to this call must not be read by the next: such workers start anew.
            for place, worker in enumerate(self.workers):
                if not worker.is_idle:
                    self._replace(place)
            raise
        return self.outcomes  # type: ignore[return-value]

    def _give(self, worker: Worker) -> None:
        if not worker.is_idle or not self.queue:
            return
        if self.function not in worker.loaded:
            worker.load(self.function)
            return
        chunk: list[list[Any]] = []
        size = 0
        while self.queue and len(chunk) < self.share and size < _CHUNK_BYTES:
            index = self.queue.popleft()
            chunk.append([index, self.items[index]])
            size += sum(len(part) for part in self.items[index] if isinstance(part, str))
        worker.items.extend(index for index, _ in chunk)
        worker.send({"call": self.function, "items": chunk})
        worker.began = worker.since
        worker.given = len(chunk)

    def _share_out(self) -> None:
        """Gives what lies behind an item that takes long to workers that have nothing to do."""
        now = time.monotonic()
        for idle in [worker for worker in self.workers if worker.is_idle]:
            for worker in self.workers:
                if not self.queue and len(worker.items) > 1 and now - worker.since >= _STUCK_S and not worker.dropping:
                    self.queue.extend(worker.drop())
            self._give(idle)
            idle.flush()

    def _wait(self) -> list[Worker]:
        """The workers that have something to say, after waiting for that, or for the nearest time limit."""
        busy = [worker for worker in self.workers if not worker.is_idle]
        now = time.monotonic()
        moments = [worker.since + _STUCK_S for worker in busy if len(worker.items) > 1]
        moments += [moment for worker in busy for moment in (self._half_time(worker), self._deadline(worker))]
        wait = min((moment for moment in moments if moment > now), default=now) - now
        ready = []
        with selectors.DefaultSelector() as selector:
            for worker in busy:
                selector.register(worker.replies, selectors.EVENT_READ, worker)
                if worker.outgoing:
                    selector.register(worker.to, selectors.EVENT_WRITE, None)
            for key, _ in selector.select(max(wait, 0.0)):
                if key.data is not None:
                    ready.append(key.data)
        return ready

    def _deadline(self, worker: Worker) -> float:
        return worker.since + (START_LIMIT if worker.loading else self.timeout_s)

    def _half_time(self, worker: Worker) -> float:
        """When another worker is started, that shall be ready if this one is killed."""
        return worker.since + self.timeout_s / 2

    def _take(self, worker: Worker) -> None:
        messages, ended = worker.receive()
        for message in messages:
            worker.since = time.monotonic()
            if isinstance(message, dict):
                if "dropped" in message:
                    worker.dropping = False
                    continue
                if message["error"] is not None:
                    worker.loading = [message["loaded"]]  # Starts anew, with all others that are busy.
                    raise RunError(f"{message['loaded']}: cannot import it in a worker: {message['error']}")
                worker.loaded.add(message["loaded"])
                worker.loading.remove(message["loaded"])
                self.failed_starts = 0
                continue
            index, error, value = message
            if index not in worker.items:
                continue  # Another worker has it by now.
            if error is not None and error.startswith(MemoryError.__name__):
                # What filled it may still be there, and is not the fault of the next item.
                self._lose(worker, "crash", f"out of memory: {error}")
                return
            worker.items.popleft()
            self._done(index, Outcome("ok", value) if error is None else Outcome("error", message=error))
        if messages and not worker.items and worker.given:
            seconds = (time.monotonic() - worker.began) / worker.given
            self.share = max(1, min(self.most, int(_CHUNK_S / max(seconds, 1e-6))))
            worker.given = 0
        if ended:
            self._lose(worker, "crash", f"its process {worker.death()}")

    def _enforce(self) -> None:
        """Kills the workers that are past their time limit; starts others in time to take their places."""
        now = time.monotonic()
        slow = sum(not w.is_idle and not w.loading and now >= self._half_time(w) for w in self.workers)
        while len(self.spares) < slow:
            spare = self.start()
            if self.function not in spare.loading:
                spare.load(self.function)
                spare.flush()
            self.spares.append(spare)
        for worker in list(self.workers):
            if not worker.is_idle and time.monotonic() >= self._deadline(worker):
                # An answer may lie in the pipe while this process was not scheduled: it counts.
                before = worker.since
                self._take(worker)
                if not worker.closed and worker.since == before:
                    limit = START_LIMIT if worker.loading else self.timeout_s
                    self._lose(worker, "timeout", f"killed after {limit:g} s")

    def _lose(self, worker: Worker, status: str, message: str) -> None:
        place = self.workers.index(worker)
        if worker.items:
            self._done(worker.items.popleft(), Outcome(status, message=message))
            self.queue.extendleft(reversed(worker.items))
        elif not worker.dropping:
            self.failed_starts += 1
            if self.failed_starts >= _START_ATTEMPTS:
                raise RunError(f"{self.function}: no worker survives the import of it: {status}, {message}")
        self._replace(place)

    def _replace(self, place: int) -> None:
        self.workers[place].close()
        # In the same list: the pool's finalizer holds it.
        self.workers[place] = self.spares.pop(0) if self.spares else self.start()

    def _done(self, index: int, outcome: Outcome) -> None:
        self.outcomes[index] = outcome
        self.left -= 1
        if self.progress is not None:
            self.progress(1)


def _close_all(workers: list[Worker], spares: list[Worker]) -> None:
    for worker in [*workers, *spares]:
        worker.close()
