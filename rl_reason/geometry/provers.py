"""The engine in many processes, each of which can be killed: for its memory, its time, or because another was first."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed

from rl_reason.errors import RunError
from rl_reason.geometry.engine import Result, result_of
from rl_reason.runtime.workers import Pool

PROVE = "rl_reason.geometry.engine:prove_text"
GRACE = 30.0
"""Seconds that a process may take beyond the limit, which it keeps itself, before it is killed."""
Told = Callable[[int], None]
"""Is called with the number of statements whose result has come."""


class Provers:
    """A context manager. Processes are started when there is something to prove.

    Args:
        processes: statements at once.
        memory_GiB: of each process, see `worker_handle.Worker`; 0: no limit.
        function: what proves: `engine.prove_text`, or what stands in for it.
    """

    def __init__(self, processes: int, memory_GiB: float = 0, function: str = PROVE):
        self._memory, self._function = memory_GiB, function
        self._executor = ThreadPoolExecutor(processes, "prove")
        self._lock = threading.Lock()
        self._free: list[Pool] = []
        self._all: list[Pool] = []
        self._at_work: dict[Future, Pool] = {}
        self._dropped: set[Future] = set()
        self._is_closed = False

    def submit(self, text: str, seconds: float) -> Future[Result]:
        """The result of a statement, when it comes.

        Args:
            text: a statement with its goal.
            seconds: that the engine may take.
        """
        made: Future[Result] = Future()
        self._executor.submit(self._run, made, text, seconds)
        return made

    def drop(self, future: Future[Result]) -> None:
        """Nobody waits for it any longer: it is not begun, or its process is killed."""
        with self._lock:
            if future.cancel() or future.done():
                return
            self._dropped.add(future)  # It may be on its way to a process.
            if pool := self._at_work.pop(future, None):
                self._all.remove(pool)
                threading.Thread(target=pool.close, daemon=True).start()

    def prove(
        self, families: Sequence[Sequence[str]], seconds: float, told: Told = lambda n: None
    ) -> list[list[Result]]:
        """Of each family the results in its order, up to the first proof; what is not needed for that is dropped.

        Args:
            families: statements, of which one has to be proved, the most promising first.
            seconds: for each statement.
            told: of progress.
        """
        most = max(map(len, families), default=0)
        begun: list[list[Future[Result]]] = [[] for _ in families]
        places: dict[Future[Result], tuple[int, int]] = {}
        # All families' first ones before the second ones: a proof spares those that follow.
        for rank in range(most):
            for family, texts in enumerate(families):
                if rank < len(texts):
                    future = self.submit(texts[rank], seconds)
                    begun[family].append(future)
                    places[future] = family, rank
        needed = [len(texts) for texts in families]
        for future in as_completed(places):
            family, rank = places[future]
            told(1)
            if rank < needed[family] and future.result().result == "solved":
                for other in begun[family][rank + 1 : needed[family]]:
                    self.drop(other)
                needed[family] = rank + 1
        return [[future.result() for future in begun[i][:count]] for i, count in enumerate(needed)]

    def close(self) -> None:
        """Ends the processes; statements that are not proved yet stay without a result."""
        with self._lock:
            self._is_closed = True
        self._executor.shutdown(wait=False, cancel_futures=True)
        for pool in self._all:
            pool.close()

    def _run(self, made: Future[Result], text: str, seconds: float) -> None:
        if not made.set_running_or_notify_cancel():
            return
        try:
            with self._taken(made) as pool:
                outcome = pool.map(self._function, [(text, seconds)], seconds + GRACE)[0]
            made.set_result(result_of(outcome))
        except BaseException as error:
            made.set_exception(error)
        finally:
            with self._lock:
                self._dropped.discard(made)

    @contextlib.contextmanager
    def _taken(self, future: Future[Result]) -> Iterator[Pool]:
        with self._lock:
            if self._is_closed:
                raise RunError("the processes that prove are closed")
            if future in self._dropped:
                raise RunError("nobody waits for this statement any longer")
            if self._free:
                pool = self._free.pop()
            else:
                pool = Pool(1, [self._function], self._memory)
                self._all.append(pool)
            self._at_work[future] = pool
        try:
            yield pool
        finally:
            with self._lock:
                if self._at_work.pop(future, None):
                    self._free.append(pool)

    def __enter__(self) -> Provers:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
