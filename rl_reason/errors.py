"""The ways a run can end early: wrong usage (exit 2), a failure at run time (exit 1), SIGTERM (exit 143), output that
nobody reads any more (exit 141)."""

from __future__ import annotations

import difflib
import errno
import os
import select
import sys
import traceback
from collections.abc import Callable, Iterable


class UsageError(Exception):
    """Wrong usage or configuration. The message is one line: which key or file, which value, what was expected."""


class UnreadKey(UsageError):
    """A value for a key that the run would not read."""

    key = ""
    """Without "config."."""


class RunError(Exception):
    """A failure at run time that the message explains in one line."""


PREEMPTED = 143
"""128 + SIGTERM, as a shell says it."""
UNREAD = 141
"""128 + SIGPIPE, as a shell says it."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Preempted(Exception):
    """SIGTERM came, and the run is saved. The message is one line."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error line: the known name nearest to a misspelt one, or all known names."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"


def run_command(main: Callable[[], None]) -> None:
    """Runs a command's `main` and turns the errors above, and a full disk, into one line and the exit status; output
    that nobody reads any more ends it without a word."""
    try:
        main()
    except (UsageError, RunError, Preempted) as error:
        sys.exit(tell(error))
    except BrokenPipeError:
        if not _unread():
            raise
        # What is left of the output goes nowhere, also what Python writes when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(UNREAD)
    except OSError as error:
        if error.errno not in FULL:
            raise
        sys.exit(tell(error))


def _unread() -> bool:
    """Whether the program behind a pipe that takes our output has ended, as `head` does; a pipe of our own may break
    for other reasons."""
    output = select.poll()
    output.register(sys.stdout, 0)
    return any(event & select.POLLERR for _, event in output.poll(0))


def tell(error: BaseException) -> int:
    """Prints the error line, or the traceback where the error is none of those above; returns the exit status."""
    if isinstance(error, (UsageError, RunError)):
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    if isinstance(error, Preempted):
        print(error, file=sys.stderr)
        return PREEMPTED
    if isinstance(error, OSError) and error.errno in FULL:
        place = f"{error.filename}: " if error.filename else ""
        print(f"error: {place}{error.strerror}; the same command goes on when there is room", file=sys.stderr)
        return 1
    traceback.print_exception(error)
    return 1
