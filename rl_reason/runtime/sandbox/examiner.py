"""The process of the tests: runs them on stand-ins for what the program defines, and says how they ended.

The program is in another process, which is asked for every value. What comes from there is data of built-in types, or
a stand-in that compares by identity only, so nothing that the program defines decides a comparison here.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import os
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from rl_reason.runtime.sandbox import codec

REQUESTS, REPLIES, VERDICT = 4, 5, 6


class ProgramError(Exception):
    """The program raised an exception that is not built in."""


def examine() -> None:
    """Runs tests and writes the verdict: "correct", "wrong", "unparseable", "crash" (the program's process has ended,
    or sends what is no answer) or "untestable: " and what is the matter with the tests.

    Descriptor 3 gives (tests, the function that they are about, text that the program continues). Names that the tests
    use and do not define come from that text if it defines them, else from the standard library where they name a
    module of it, else from the program.
    """
    tests, entry_point, prompt = codec.decode(codec.read_all(3), [], codec.nothing_else)
    try:
        code = compile(tests, "tests.py", "exec", dont_inherit=True)
    except BaseException as error:
        _end(f"untestable: they do not compile: {error}")
    program = _Program()
    program.load()
    space: dict[str, Any] = {"__name__": "tests"}
    needed = _names(code) - set(vars(builtins))
    if prompt and needed - {entry_point}:
        space = _prompt_space(prompt)
    space |= _modules(needed - {entry_point} - set(space))
    found = program.names([entry_point, *(needed - set(space))])
    if entry_point not in found:
        _end("wrong")
    space |= found
    try:
        exec(code, space)
    except BaseException:
        _end("wrong")
    if not program.asked:
        _end("untestable: they ask nothing of the program")
    _end("correct")


class _Program:
    """The other process."""

    def __init__(self) -> None:
        self.asked = 0
        self._stand_ins: dict[int, StandIn] = {}

    def load(self) -> None:
        """Waits until the program is loaded; ends here where it cannot be."""
        kind, _, _ = self._receive([])
        if kind != "value":
            _end("unparseable" if kind == "unparseable" else "wrong")

    def names(self, names: list[str]) -> dict[str, Any]:
        """What the program calls so, where it does."""
        answer = self.ask("names", None, *names)
        if not isinstance(answer, dict):
            _end("crash")
        self.asked = 0
        return {name: answer[name] for name in names if name in answer}

    def ask(self, operation: str, target: Any, /, *arguments: Any, **named: Any) -> Any:
        """The value of an operation on an object of the program. Mutable arguments change as they did there.

        Raises:
            Exception: the built-in one that the program raised, else `ProgramError`.
        """
        shared: list = []
        try:
            request = codec.encode((operation, target, arguments, named), shared, self._refer)
        except (TypeError, ValueError) as error:
            _end(f"untestable: an argument cannot be sent: {error}")
        sent = len(shared)
        try:
            codec.send(REQUESTS, request)
        except OSError:
            _end("crash")
        kind, value, rest = self._receive(shared)
        self.asked += 1
        if kind == "value":
            try:
                _change(shared[:sent], rest)
            except Exception:
                _end("crash")
            return value
        raised = getattr(builtins, value, None) if isinstance(value, str) else None
        if not (isinstance(raised, type) and issubclass(raised, Exception)):
            raised = ProgramError
        try:
            made = raised(rest)
        except TypeError:  # Some want more than a text.
            made = ProgramError(rest)
        raise made

    def _receive(self, shared: list) -> tuple:
        try:
            reply = codec.receive(REPLIES)
            if reply is None:
                _end("crash")
            kind, value, rest = codec.decode(reply, shared, self._referred)
        except (codec.Malformed, OSError, TypeError, ValueError):
            _end("crash")
        return kind, value, rest

    def _refer(self, value: Any) -> int:
        if type(value) is not StandIn:
            return codec.nothing_else(value)
        return object.__getattribute__(value, "_number")

    def _referred(self, number: int) -> StandIn:
        if number not in self._stand_ins:
            self._stand_ins[number] = StandIn(self.ask, number)
        return self._stand_ins[number]


class StandIn:
    """An object of the program: a function, a class, what these give. It has no equality but its own identity."""

    def __init__(self, ask: Callable, number: int):
        object.__setattr__(self, "_ask", ask)
        object.__setattr__(self, "_number", number)

    def __call__(self, /, *arguments: Any, **named: Any) -> Any:
        return self._ask("call", self, *arguments, **named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # What Python itself looks for: this is no such object.
            raise AttributeError(name)
        return self._ask("get", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._ask("set", self, name, value)

    def __getitem__(self, key: Any) -> Any:
        return self._ask("item", self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._ask("put", self, key, value)

    def __len__(self) -> int:
        return self._ask("length", self)

    def __bool__(self) -> bool:
        return self._ask("truth", self)

    def __str__(self) -> str:
        return self._ask("text", self)

    def __repr__(self) -> str:
        return self._ask("name", self)

    def __iter__(self) -> Iterator:
        items = self._ask("iterate", self)
        while True:
            try:
                item = self._ask("next", items)
            except StopIteration:
                return
            yield item


def _change(containers: list, changes: tuple) -> None:
    """Gives containers the contents that the program left in its copies of them."""
    for number, contents in changes:
        container = containers[number]
        if isinstance(container, (list, bytearray)):
            container[:] = contents
        else:
            container.clear()
            container.update(contents)


def _names(code: types.CodeType) -> set[str]:
    """The names that code uses outside of functions, attributes among them."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*inner)


def _modules(names: set[str]) -> dict[str, types.ModuleType]:
    """Those that are modules of the standard library, which no program can then put its own in place of."""
    found = {}
    for name in names & sys.stdlib_module_names:
        with contextlib.suppress(Exception):  # One of another system, or of a library that is not there.
            found[name] = importlib.import_module(name)
    return found


def _prompt_space(prompt: str) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "tests"}
    try:
        exec(compile(prompt, "prompt.py", "exec", dont_inherit=True), space)
    except BaseException:  # It ends in the middle of something.
        return {"__name__": "tests"}
    return space


def _end(verdict: str) -> NoReturn:
    # At once and past all handlers: the tests may catch exceptions of every kind.
    os.write(VERDICT, verdict.encode(errors="replace")[:1000])
    os._exit(0)
