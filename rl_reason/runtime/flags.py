"""Command-line flags of the commands: a table of names, types and defaults, and one error line for a wrong one."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rl_reason.errors import RunError, UsageError, nearest


class _Required:
    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED = _Required()
"""The default of a flag that has to be given."""

Spec = Mapping[str, tuple[Callable[[str], Any], Any, str]]
"""Flag name → (type, default or `REQUIRED`, help). The type: `bool`, or a function of the text like `int`."""

HOSTS: Spec = {
    "coordinator": (str, "", "HOST:PORT of process 0; found by itself on TPU pods, under SLURM and Open MPI"),
    "processes": (int, 0, "how many processes run this command together"),
    "process": (int, -1, "which of them this is, from 0"),
}
"""Of the commands that run on several hosts."""

_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def split_flags(argv: Sequence[str], switches: Iterable[str] = ()) -> list[tuple[str, str | None]]:
    """(name, text) of each flag of `argv`, in order; "--name=text" and "--name text" are the same.

    Args:
        argv: arguments, without the program's name.
        switches: names that never take the following argument as their value.

    Returns:
        Pairs whose text is None where the flag stands alone.

    Raises:
        UsageError: an argument that belongs to no flag.
    """
    switches = set(switches)
    pairs: list[tuple[str, str | None]] = []
    waiting = list(argv)
    while waiting:
        argument = waiting.pop(0)
        if not argument.startswith("-") or not argument.strip("-"):
            raise UsageError(f"{argument!r}: unexpected argument, expected --name=value")
        name, equals, text = argument.lstrip("-").partition("=")
        if equals:
            pairs.append((name, text))
        elif name not in switches and waiting and not _looks_like_flag(waiting[0]):
            pairs.append((name, waiting.pop(0)))
        else:
            pairs.append((name, None))
    return pairs


def parse_flags(argv: Sequence[str], spec: Spec, description: str = "") -> dict[str, Any]:
    """The values of a command's flags, defaults included.

    "--help" prints the table and exits with status 0. A `bool` flag is "--name", "--name=true" or "--noname".
    A hyphen in a name may be written for an underscore. The last of a repeated flag counts.

    Args:
        argv: arguments, without the program's name.
        spec: the flags that exist.
        description: printed above the table by "--help".

    Returns:
        Flag name → value, one entry for each name of `spec`.

    Raises:
        UsageError: an unknown flag, a missing one, or a value that its type does not accept.
    """
    switches = {name for name, (kind, _, _) in spec.items() if kind is bool}
    pairs = split_flags(argv, switches | {f"no{name}" for name in switches} | {"help", "h"})
    if any(name in ("help", "h") and name not in spec for name, _ in pairs):
        print(help_text(spec, description))
        sys.exit(0)
    values = {name: default for name, (_, default, _) in spec.items()}
    for written, text in pairs:
        name = written.replace("-", "_")
        if name not in spec and name.startswith("no") and name[2:] in switches and text is None:
            name, text = name[2:], "false"
        if name not in spec:
            raise UsageError(f"--{written}: unknown flag{nearest(name, spec)}")
        values[name] = _convert(name, text, spec[name][0])
    for name, value in values.items():
        if value is REQUIRED:
            raise UsageError(f"--{name}: missing, expected {spec[name][2] or 'a value'}")
    return values


@contextlib.contextmanager
def as_flags(names: Mapping[str, str]) -> Iterator[None]:
    """Errors from inside tell of a command's flags where the rooms below tell of a config's keys.

    Args:
        names: what is told there → what is told here.
    """
    try:
        yield
    except (UsageError, RunError) as error:
        message = str(error)
        for key, flag in names.items():
            message = message.replace(key, flag)
        raise type(error)(message) from error


def help_text(spec: Spec, description: str = "") -> str:
    """What "--help" prints: one line for each flag."""
    rows = []
    for name, (kind, default, text) in spec.items():
        ending = " (required)" if default is REQUIRED else "" if default in ("", None) else f" (default: {default})"
        left = f"--{name}" if kind is bool else f"--{name}={getattr(kind, '__name__', 'value').upper()}"
        rows.append((left, f"{text}{ending}"))
    width = max((len(left) for left, _ in rows), default=0)
    lines = [f"  {left:<{width}}  {right}" for left, right in rows]
    return "\n".join([description.strip(), "", *lines] if description else lines)


def _looks_like_flag(argument: str) -> bool:
    if not argument.startswith("-") or argument == "-":
        return False
    try:
        float(argument)  # "--temperature -1": a negative number is a value.
    except ValueError:
        return True
    return False


def _convert(name: str, text: str | None, kind: Callable[[str], Any]) -> Any:
    if kind is bool:
        if text is None:
            return True
        if text.lower() not in _BOOLEANS:
            raise UsageError(f"--{name}={text!r}: expected true or false")
        return _BOOLEANS[text.lower()]
    if text is None:
        raise UsageError(f"--{name}: expected a value, as in --{name}=VALUE")
    try:
        return kind(text)
    except UsageError:
        raise
    except (ValueError, TypeError) as error:
        raise UsageError(f"--{name}={text!r}: expected {getattr(kind, '__name__', 'another value')}") from error
