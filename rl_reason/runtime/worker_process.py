"""What runs inside a worker process of `runtime.workers.Pool`: calls functions by name, answers in JSON lines.

Only the standard library is imported here, so that a worker starts in a few hundredths of a second.
"""

from __future__ import annotations

import dataclasses
import fcntl
import importlib
import json
import operator
import os
import resource
import select
import signal
from collections.abc import Callable
from typing import Any


def main(requests: int, replies: int, lifeline: int, memory: int) -> None:
    """Answers requests until the parent closes its end.

    A request is one line, {"load": name} or {"call": name, "items": [[index, arguments], …]}. A load is answered
    by {"loaded": name, "error": text or null}; a call by one line [index, error text or null, value] for each item,
    written as soon as the item is done, so that the parent knows which one is running. {"drop": true} ends a call
    behind the item that is running, and is answered by {"dropped": true}.

    Args:
        requests: file descriptor that is read.
        replies: file descriptor that is written.
        lifeline: reading end of a pipe to which the parent never writes.
        memory: bytes of data that it may have, or 0.
    """
    if memory:
        # Not the address space: torch and jax reserve far more of it than they use.
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    _die_with_parent(lifeline)
    # Sent to the whole group it would cost rewards of the step that the parent finishes.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _be_first_out_of_memory()
    functions: dict[str, Callable] = {}
    with os.fdopen(requests, "rb") as lines:
        for line in lines:
            request = json.loads(line)
            if "drop" in request:
                _reply(replies, {"dropped": True})
                continue
            if "load" in request:
                name = request["load"]
                error = None
                try:
                    functions[name] = _import(name)
                except BaseException as raised:  # Also what a module does that calls sys.exit when imported.
                    error = _one_line(raised)
                _reply(replies, {"loaded": name, "error": error})
                continue
            function = functions[request["call"]]
            for index, arguments in request["items"]:
                _reply(replies, _answer(function, index, arguments))
                if select.select([requests], [], [], 0)[0]:  # While a call runs nothing comes but the word to drop it.
                    break


def _answer(function: Callable, index: int, arguments: list) -> list:
    try:
        # Serialized here once only to know that it can be, under the same protection as the call.
        value = json.loads(json.dumps(function(*arguments), default=plain))
    except BaseException as raised:  # SystemExit and the time limits of libraries are no Exceptions.
        return [index, _one_line(raised), None]
    return [index, None, value]


def _reply(descriptor: int, message: Any) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(descriptor, data) :]


def _import(name: str) -> Callable:
    """The function, made ready: what its attribute `prepare` does, where it has one, is not on a call's time limit."""
    module, _, attribute = name.partition(":")
    function = operator.attrgetter(attribute)(importlib.import_module(module))
    prepare = getattr(function, "prepare", None)
    if prepare is not None:
        prepare()
    return function


def plain(value: Any) -> Any:
    """The `default` of `json.dumps` in both directions."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if hasattr(value, "item"):  # Scalars of numpy and jax.
        return value.item()
    raise TypeError(f"found {type(value).__name__}, expected numbers, strings, lists and dictionaries")


def _one_line(raised: BaseException) -> str:
    try:
        text = " ".join(str(raised).split())[:500]
    except Exception:
        text = ""
    return f"{type(raised).__name__}: {text}" if text else type(raised).__name__


def _die_with_parent(lifeline: int) -> None:
    """Asks the kernel to end this process when the parent is gone, even inside a call that never returns."""
    if not hasattr(fcntl, "F_SETOWN") or not hasattr(os, "O_ASYNC"):
        return
    # Nothing is ever written to this pipe: SIGIO, whose default action is to end, comes only when its other end closes.
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def _be_first_out_of_memory() -> None:
    """Where memory runs out, the kernel shall end the worker that took it and not the training run."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass
