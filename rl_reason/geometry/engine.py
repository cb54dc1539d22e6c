"""Deduction and algebraic reasoning over statements (DD+AR; Nature 2024, Methods), by the package `newclid`.

Figures are drawn at random until all that is said of them holds in numbers; the random numbers follow from the
statement. Nothing of a statement reaches the packages that was not read by `statements`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import re
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rl_reason.errors import UsageError
from rl_reason.extras import check_version
from rl_reason.geometry.statements import Clause, Construction, Statement, parse_statement
from rl_reason.runtime.workers import Outcome

PACKAGES = {"newclid": "3.0.1", "py-yuclid": "3.0.0"}
"""Packages → the versions whose constructions are known to be those of the language. What `newclid` deduces by itself,
without the second, is not used: that of this version fails on most statements."""
RESULTS = ("solved", "no proof", "time", "memory", "cannot be constructed", "failed")
"""How the engine can end. "no proof": all that it can deduce is deduced; "failed": an error of its own."""
_FORMS = {
    "parallelogram": "parallelogram {3} {0} {1} {2}",
    "square": "square {2} {3} {0} {1}",
    "eq_trapezoid": "iso_trapezoid {0} {1} {2} {3}",
    "s_angle": "s_angle {0} {1} {2} {3}o",
}
"""Constructions that the package writes otherwise."""
_OPTIONS = (
    *("--mode", "ddar", "--disable-ar-dist", "--disable-ar-squared", "--disable-eqn-statements", "--disable-ar-sin"),
    *("--use-json", "--log-level", "fatal"),
)
"""Those with which the package runs its program."""
_DRAWINGS, _SAME = 100, 10
"""Random figures of a statement that are tried, at most; and those after which a point that was in each of them exactly
where another one is, or where parallel lines would meet, is taken for one that is always there."""
_ALWAYS = re.compile(
    r"too close to \S+ \(distance: (0\.0|\S+e-[1-9]\d) <"
    r"|reduce \[JGEXLine\([^()]*\), JGEXLine\([^()]*\)\] .*intersections: \(\)"
)
"""What the package says then."""
NO_FIGURE = (ValueError, NotImplementedError, ArithmeticError)
"""What the package raises where it finds no figure."""
_MIRRORED = {"simtri": "simtrir", "contri": "contrir"}
"""For the package these predicates tell orientations apart."""


@dataclass(frozen=True)
class Result:
    """What the engine makes of a statement."""

    result: str
    """One of `RESULTS`."""
    seconds: float = 0.0
    message: str = ""
    """One line about what went wrong."""
    proof: str = ""
    """Step by step, as text; empty unless solved."""
    figure: dict = field(default_factory=dict)
    """Of a solved one, `points`, name → [x, y], and `premises`, each a predicate's name and its points."""


class EngineError(RuntimeError):
    """The engine's program failed."""


class _TimeUp(BaseException):
    """No Exception: nothing on the way shall take it for its own."""


def check_package(key: str) -> None:
    """Refuses where the packages are not there in the versions that are known.

    Raises:
        UsageError: names `key`.
    """
    for package, version in PACKAGES.items():
        check_version(package, version, "geometry", key)


def is_installed() -> bool:
    try:
        check_package("")
    except UsageError:
        return False
    return True


@functools.cache
def load_package() -> None:
    """Imports it, which takes seconds."""
    path = os.environ.get("PATH", "")
    # The package looks for its program there, once; an environment that is not activated has it elsewhere.
    os.environ["PATH"] = os.pathsep.join((sysconfig.get_path("scripts"), path))
    try:
        import newclid.jgex.problem_builder
        import py_yuclid.api_default
    finally:
        os.environ["PATH"] = path
    assert newclid and py_yuclid
    logging.getLogger("newclid").setLevel(logging.ERROR)
    logging.getLogger("py_yuclid").setLevel(logging.CRITICAL)


def prove(statement: Statement, seconds: float) -> Result:
    """Runs the engine until the goal is deduced, nothing more can be, or the time is up. In the main thread only.

    Args:
        statement: with its goal.
        seconds: for all of it.

    Raises:
        MemoryError: this process has no more.
    """
    return _ask(statement, seconds, _proof)


def decide(statement: Statement, seconds: float) -> Result:
    """`prove` where no proof is needed: one that is found is neither checked step by step nor written, which takes
    several times as long as to find it."""
    return _ask(statement, seconds, _verdict)


def _ask(statement: Statement, seconds: float, answer: Callable[[Any], dict[str, Any] | None]) -> Result:
    """
    Args:
        answer: what a solver finds of a `Result`; None: no proof.
    """
    load_package()
    from newclid.agent.follow_deductions import DoubleCheckError

    began = time.monotonic()
    made = lambda result, **more: Result(result, time.monotonic() - began, **more)  # noqa: E731
    try:
        with _limit(seconds):
            try:
                solver = _solver(statement)
            except NO_FIGURE as error:
                return made("cannot be constructed", message=_reason(error))
            found = answer(solver)
            return made("no proof") if found is None else made("solved", **found)
    except _TimeUp:
        return made("time", message=f"more than {seconds:g} s")
    except EngineError as error:
        return made("memory" if "bad_alloc" in str(error) else "failed", message=_one_line(error))
    except (ValueError, DoubleCheckError) as error:  # The two do not agree on a number.
        return made("failed", message=_one_line(error))


def _proof(solver: Any) -> dict[str, Any] | None:
    return {"proof": solver.proof(), "figure": _figure(solver)} if solver.run() else None


def _verdict(solver: Any) -> dict[str, Any] | None:
    from py_yuclid.yuclid_adapter import _write_yuclid_setup

    state = solver.proof_state
    for goal in state.goals:
        if not state.check_numerical(goal):
            raise ValueError(f"{goal} fails numerical check")
    return {} if run_program(_write_yuclid_setup(state.problem))["status"] == "solved" else None


def no_figure(statement: Statement, like: Statement | None = None) -> str:
    """Why no figure of a statement is found, in one line; empty where there is one.

    Args:
        statement: with its goal, which has to hold in the figure.
        like: it is drawn with the random numbers of this statement; None: with its own.
    """
    load_package()
    try:
        _solver(statement, like)
    except NO_FIGURE as error:
        return _reason(error)
    return ""


def prove_text(text: str, seconds: float) -> Result:
    """`prove` for `runtime.workers`, whose arguments are plain values."""
    return prove(parse_statement(text), seconds)


def result_of(outcome: Outcome) -> Result:
    """The result of a call of `prove_text` in a worker that can be killed."""
    if outcome.status == "ok":
        return Result(**outcome.value)
    if outcome.status == "timeout":
        return Result("time", message=outcome.message)
    # Of the package's parts Python raises, Rust aborts, and the kernel kills where memory is short.
    memory = any(sign in outcome.message for sign in ("out of memory", "SIGABRT", "SIGKILL"))
    return Result("memory" if memory else "failed", message=outcome.message)


def run_program(lines: Sequence[str], seconds: float | None = None) -> dict[str, Any]:
    """What the engine's program says of a drawing, its premises and its goals.

    Args:
        lines: as `py_yuclid.yuclid_adapter` writes them.
        seconds: for all of it; None: no limit.

    Returns:
        `status`, and of the goals that were reached `deductions_for_goal`.

    Raises:
        TimeoutError: it needs more time.
        EngineError: it fails.
    """
    from py_yuclid.yuclid_adapter import YUCLID_PATH

    command, text = [str(YUCLID_PATH), *_OPTIONS], "\n".join((*lines, ""))
    try:
        ran = subprocess.run(command, input=text, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"more than {seconds:g} s") from None
    if ran.returncode:
        raise EngineError(_one_line(ran.stderr) or f"its program ended with status {ran.returncode}")
    # All that was deduced stands behind: to read it takes as long as to deduce it.
    return json.loads(ran.stdout.partition(',"all_deductions":')[0] + "}")


def _adapter() -> Any:
    """The package's own adapter to its program. As the solver does, it sees what leads to the goal only: to check all
    that was deduced takes many times as long as to deduce it."""
    from py_yuclid.yuclid_adapter import YuclidAdapter, YuclidOutput

    class Adapter(YuclidAdapter):
        def _run_yuclid(self) -> YuclidOutput:
            said = run_program(self.precomputation_input_str.split("\n"))
            return YuclidOutput.model_validate(said | {"all_deductions": said["deductions_for_goal"]})

    return Adapter()


def _solver(statement: Statement, like: Statement | None = None) -> Any:
    """The package's own solver, with a figure of the statement; `like` as in `no_figure`.

    Raises:
        ValueError, NotImplementedError, ArithmeticError: there is no such figure, or none was found.
    """
    from newclid.api import GeometricSolverBuilder
    from py_yuclid.api_default import HEDefault

    seed = int.from_bytes(hashlib.sha256(str(like or statement).encode()).digest()[:8])
    builder = GeometricSolverBuilder(rng=seed, api_default=HEDefault(_adapter()))
    name = statement.goal[0]
    try:
        return builder.build(_setup(statement, name, seed))
    except ValueError:
        if name not in _MIRRORED:
            raise
    return builder.build(_setup(statement, _MIRRORED[name], seed))


def _setup(statement: Statement, goal: str, seed: int) -> Any:
    from newclid.jgex.errors import JGEXConstructionError
    from newclid.jgex.formulation import JGEXFormulation
    from newclid.jgex.problem_builder import JGEXProblemBuilder

    clauses = "; ".join(map(written, statement.clauses))
    problem = JGEXFormulation.from_text(f"{clauses} ? {' '.join((goal, *statement.goal[1:]))}")
    builder, same = JGEXProblemBuilder(rng=seed, problem=problem), 0
    for left in reversed(range(_DRAWINGS)):
        try:
            return builder.build(1)
        except ValueError as error:
            same = same + 1 if _ALWAYS.search(str(error)) else 0
            if not left or same == _SAME or not isinstance(error.__cause__, JGEXConstructionError):
                raise


def written(clause: Clause) -> str:
    """A clause as the package has it."""
    points = clause.points if not clause.places else clause.places
    return f"{' '.join(points)} = {', '.join(map(_form, clause.constructions))}"


def _form(construction: Construction) -> str:
    form = _FORMS.get(construction.name)
    return form.format(*construction.arguments) if form else str(construction)


def _figure(solver: Any) -> dict:
    problem = solver.proof_state.problem
    return {
        "points": {str(point.name): [float(point.num.x), float(point.num.y)] for point in problem.points},
        "premises": [str(premise).split() for premise in problem.assumptions],
    }


@contextlib.contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Raises `_TimeUp` inside, when the time is up."""

    def stop(*_: object) -> None:
        raise _TimeUp

    before = signal.signal(signal.SIGALRM, stop)
    # Again and again: where the first one falls into a callback of C code, it may be dropped there.
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3), 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _reason(error: BaseException) -> str:
    if "Did not even try" in str(error):
        return "no figure was found in which all that is said of it holds"
    return _one_line(error.__cause__ or error)


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:300]


prove_text.prepare = load_package  # type: ignore[attr-defined]
