"""The process of a model's program. All in it may be turned round by the program, and nothing outside believes it."""

from __future__ import annotations

import builtins
import os
import sys
import types
from collections.abc import Callable
from typing import Any

from rl_reason.runtime.sandbox import codec


def functions() -> None:
    """Loads a program as a module and answers requests about what it defines.

    Descriptor 3 gives texts of which the first that compiles is the program; 4 the requests, (operation, object,
    arguments, keyword arguments); 5 takes the answers: ("value", value, changed) with the contents of those mutable
    arguments that were changed in place, or ("raised", the exception's type, its text). The first answer is without a
    request: a value, "unparseable", or "raised".
    """
    objects: list[Any] = []
    numbers: dict[int, int] = {}

    def refer(value: Any) -> int:
        if id(value) not in numbers:
            numbers[id(value)] = len(objects)
            objects.append(value)  # Which keeps it alive, and its id its own.
        return numbers[id(value)]

    code = _compile(codec.decode(codec.read_all(3), [], codec.nothing_else))
    if code is None:
        codec.send(5, codec.encode(("unparseable", "", ()), [], refer))
        return
    module = types.ModuleType("program")
    sys.modules["program"] = module
    answer: tuple = ("value", None, ())
    try:
        exec(code, module.__dict__)
    except BaseException as error:
        answer = _raised(error)
    codec.send(5, codec.encode(answer, [], refer))
    while (request := codec.receive(4)) is not None:
        shared: list = []
        operation, target, arguments, named = codec.decode(request, shared, objects.__getitem__)
        before = [_contents(container) for container in shared]
        try:
            if operation == "names":
                value = {name: vars(module)[name] for name in arguments if name in vars(module)}
            else:
                value = _OPERATIONS[operation](target, *arguments, **named)
            changed = tuple(
                (number, _contents(container))
                for number, (container, old) in enumerate(zip(shared, before, strict=True))
                if not _same(_contents(container), old)
            )
            reply = codec.encode(("value", value, changed), shared, refer)
        except BaseException as error:
            reply = codec.encode(_raised(error), [], refer)
        codec.send(5, reply)


def script() -> None:
    """Runs a program as a script with its standard input and output.

    Descriptor 3 gives texts as above; 4 is told "ok" when it came to its end, "failed" where it raised or exited with
    another status than 0, or "unparseable".
    """
    code = _compile(codec.decode(codec.read_all(3), [], codec.nothing_else))
    if code is None:
        os.write(4, b"unparseable")
        return
    sys.stdin, sys.stdout = open(0, encoding="utf-8", errors="replace"), open(1, "w", encoding="utf-8")
    vars(builtins).update(exit=sys.exit, quit=sys.exit)  # Which the module `site` brings elsewhere.
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    try:
        exec(code, module.__dict__)
    except BaseException as error:
        if not isinstance(error, SystemExit) or error.code not in (None, 0):
            os.write(4, b"failed")
            return
    threading = sys.modules["threading"]
    for thread in threading.enumerate():  # A script ends when its threads have.
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    sys.stdout.flush()
    os.write(4, b"ok")


def _compile(texts: list[str]) -> types.CodeType | None:
    for text in texts:
        try:
            return compile(text, "program.py", "exec", dont_inherit=True)
        except BaseException:  # Of all kinds, for what is nested too deeply or is no text.
            continue
    return None


def _raised(error: BaseException) -> tuple:
    try:
        text = str(error)[:1000]
    except BaseException:
        text = ""
    return ("raised", type(error).__name__, text)


def _contents(container: Any) -> Any:
    if isinstance(container, dict):
        return tuple(container.items())
    return bytes(container) if isinstance(container, bytearray) else tuple(container)


def _same(new: Any, old: Any) -> bool:
    if isinstance(new, bytes):
        return new == old
    if len(new) != len(old):
        return False
    pairs = zip(new, old, strict=True)
    # Items of dictionaries are pairs made anew; of all else the very same objects are asked for, without any __eq__.
    return all(a is b or (type(a) is type(b) is tuple and len(a) == len(b) == 2 and _same_pair(a, b)) for a, b in pairs)


def _same_pair(a: tuple, b: tuple) -> bool:
    return a[0] is b[0] and a[1] is b[1]


_OPERATIONS: dict[str, Callable] = {
    "call": lambda target, *arguments, **named: target(*arguments, **named),
    "get": getattr,
    "set": setattr,
    "item": lambda target, key: target[key],
    "put": lambda target, key, value: target.__setitem__(key, value),
    "length": len,
    "iterate": iter,
    "next": next,
    "truth": bool,
    "text": str,
    "name": repr,
}
"""What the tests can do with an object that stays here. Nothing that compares: what is compared crosses as data."""
