"""Several runs that are computed in one program: a company.

Each member is an ordinary run in a thread of its own. Where it calls a jitted function it waits until all have called
theirs, and what they have called is one call of that function, mapped over the members by `jax.vmap`. So all that a run
does on the host is done as ever, and what is compiled, dispatched and waited for is so once for all.

Members go in step: they call the same functions in the same order, with arrays of the same shapes. What a run decides
about shapes by what it has sampled, it decides with `most`. They take turns, so that only one of them runs at any
moment: what they share needs no locks. A run by itself is in no company: all here leaves it as it is.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from rl_reason.errors import RunError
from rl_reason.parallel import hosts

AXIS = "members"
"""Of arrays that hold something of each member, as `jax.vmap` knows it."""

Numbers = Mapping[str, Any]
"""Setting → its value, one of those that members do not share: a float, or traced."""
Count = TypeVar("Count", int, jax.Array)


class _Here(threading.local):
    """Who runs in this thread."""

    company: Company | None = None
    member = 0
    traces = False
    """Whether a function is being mapped over the members."""
    joined = 0
    """Functions of this member that were joined so far: it makes the same ones as the others, in the same order."""


_here = _Here()


class _Left(BaseException):
    """Ends a member because another one has failed."""


def most(count: Count) -> Count:
    """The greatest of what the members have here; a count on the host, or one that is traced."""
    if isinstance(count, jax.Array):
        return jax.lax.pmax(count, AXIS) if _here.traces else count
    if _here.company is None:
        return count
    return _here.company.meet("most", int(count), lambda counts: [max(counts)] * len(counts))


def shows() -> bool:
    """Whether this run shows its progress: on the first host, of a company the first member."""
    return hosts.is_first() and _here.member == 0


def joined(own: Callable, of: Callable[[Numbers], Callable] | None = None) -> Callable:
    """A function that is computed for all members at once; without a company, `own`.

    Args:
        own: a jitted function of this run.
        of: the same function, of the numbers that members do not share; None: it depends on none of them.
    """
    if _here.company is None:
        return own
    _here.joined += 1
    return _Joined(_here.company, f"function {_here.joined}", of or (lambda numbers: own))


class Company:
    """So many members.

    Args:
        numbers: of each member, what it does not share with the others; all have the same ones.
    """

    def __init__(self, numbers: Sequence[Mapping[str, float]]):
        self.numbers = {name: np.array([one[name] for one in numbers], np.float32) for name in numbers[0]}
        self._count = len(numbers)
        self._turn = threading.Condition()
        self._whose = 0
        self._error: BaseException | None = None
        self._calls: list[tuple[str, Any]] = [("", None)] * self._count
        self._made: Sequence[Any] = ()

    def run(self, works: Sequence[Callable[[], None]]) -> None:
        """Runs each member's work; returns when all are done.

        Raises:
            BaseException: what the first that failed has raised; the others are ended then.
        """
        members = [
            threading.Thread(target=self._run, args=(member, work), name=f"member {member}", daemon=True)
            for member, work in enumerate(works)
        ]
        for thread in members:
            thread.start()
        try:
            for thread in members:
                thread.join()
        except BaseException as error:  # Of the main thread: it was interrupted.
            self._fail(error)
            raise
        if self._error is not None:
            raise self._error

    def meet(self, what: str, value: Any, compute: Callable[[list[Any]], Sequence[Any]]) -> Any:
        """Waits for all members, and returns what `compute` makes for this one of the values of all.

        Raises:
            RunError: another member has come to something else.
        """
        me = _here.member
        self._calls[me] = (what, value)
        if me == self._count - 1:
            asked = {name for name, _ in self._calls}
            if len(asked) > 1:
                raise RunError(f"runs that are computed together went out of step: {', '.join(sorted(asked))}")
            self._made = compute([value for _, value in self._calls])
        self._pass_on()
        self._wait_for_turn(me)
        return self._made[me]

    def _run(self, member: int, work: Callable[[], None]) -> None:
        _here.company, _here.member = self, member
        try:
            self._wait_for_turn(member)
            work()
            self._calls[member] = ("the end", None)
            self._pass_on()
        except _Left:
            pass
        except BaseException as error:
            self._fail(error)

    def _pass_on(self) -> None:
        with self._turn:
            self._whose = (self._whose + 1) % self._count
            self._turn.notify_all()

    def _wait_for_turn(self, member: int) -> None:
        with self._turn:
            self._turn.wait_for(lambda: self._whose == member or self._error is not None)
            if self._error is not None:
                raise _Left

    def _fail(self, error: BaseException) -> None:
        with self._turn:
            self._error = self._error or error
            self._turn.notify_all()


class _Joined:
    """A jitted function, called by all members at the same time. Whole numbers of Python among its arguments are
    compiled; those that are traced count something that goes in step (tokens, pieces, updates), and are not mapped."""

    def __init__(self, company: Company, name: str, of: Callable[[Numbers], Callable]):
        self._company, self._name, self._of = company, name, of
        self._program = functools.cache(self._make_program)

    def __call__(self, *args: Any) -> Any:
        return self._company.meet(self._name, args, self._compute)

    def _compute(self, calls: list[tuple]) -> Sequence[Any]:
        shapes = [jax.tree.map(lambda x: x if isinstance(x, int) else (x.shape, x.dtype), call) for call in calls]
        if any(one != shapes[0] for one in shapes):
            raise RunError(f"runs that are computed together went out of step: {self._name} has other shapes")
        compiled = tuple(arg if isinstance(arg, int) else None for arg in calls[0])
        traced = [tuple(arg for arg in call if not isinstance(arg, int)) for call in calls]
        return self._program(compiled)(self._company.numbers, traced)

    def _make_program(self, compiled: tuple[int | None, ...]) -> Callable:
        def of_all(numbers: Numbers, calls: list[tuple]) -> list[Any]:
            structure = jax.tree.structure(calls[0])
            by_leaf = list(zip(*map(jax.tree.leaves, calls), strict=True))
            axes = [None if _counts(leaves[0]) else 0 for leaves in by_leaf]
            mapped = [leaves[0] if _counts(leaves[0]) else jnp.stack(leaves) for leaves in by_leaf]

            def of_one(numbers: Numbers, leaves: list[jax.Array]) -> Any:
                rest = iter(jax.tree.unflatten(structure, leaves))
                return self._of(numbers)(*(next(rest) if arg is None else arg for arg in compiled))

            _here.traces = True
            try:
                made = jax.vmap(of_one, in_axes=(0, axes), axis_name=AXIS)(numbers, mapped)
            finally:
                _here.traces = False
            return [jax.tree.map(lambda x: x[member], made) for member in range(len(calls))]  # noqa: B023

        return jax.jit(of_all)


def _counts(x: jax.Array) -> bool:
    return x.shape == () and x.dtype == jnp.int32
