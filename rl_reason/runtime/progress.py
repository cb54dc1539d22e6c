"""Progress of whatever takes time: a live bar on a terminal, plain lines elsewhere; and tables of results."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import rich.progress
from rich.console import Console
from rich.table import Table
from rich.text import Text

REFRESHES_PER_SECOND = 4
# Without a terminal: a line after so many seconds, or where the run crosses a tenth, but not two within half a second.
_LINE_SECONDS, _LINE_SECONDS_MIN = 5.0, 0.5
# Updates that the speed is averaged over: enough to smooth, few enough to forget the first step's compilation.
_SPEED_WINDOW = 20


class Progress:
    """A context manager that shows how far something is.

    Args:
      total: number of steps; None if unknown.
      done: steps that an earlier run has done (they do not count for the speed).
      title: what is being done, e.g. "train".
      console: where to; by default standard error, so that standard output holds results only.
      enabled: False on all hosts but the first, which alone shows it.
    """

    def __init__(
        self,
        total: int | None,
        done: int = 0,
        title: str = "",
        *,
        console: Console | None = None,
        enabled: bool = True,
    ):
        self._console = Console(quiet=True) if not enabled else console or _console(stderr=True)
        self._total, self._title = total, title
        self._step = done
        self._fields: Mapping[str, Any] = {}
        self._history: deque[tuple[float, int]] = deque([(time.monotonic(), done)], maxlen=_SPEED_WINDOW)
        self._shown_at, self._shown_step = -math.inf, done
        self._bar: _Bar | None = None

    def __enter__(self) -> Progress:
        if self._console.is_terminal and not self._console.is_dumb_terminal and not self._console.quiet:
            self._bar = _Bar(self, self._console)
            self._bar.start()
        elif self._title:
            self._shown_at = time.monotonic()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._step != self._shown_step:
            self._print_line()

    def update(self, step: int, fields: Mapping[str, Any] | None = None) -> None:
        """`step` steps are done. `fields` are shown beside the bar and stay until replaced; cheap to call often."""
        now = time.monotonic()
        self._step = step
        if fields is not None:
            self._fields = fields
        # Many updates within one refresh share an entry, or the window would span milliseconds only.
        if now - self._history[-1][0] >= 1 / REFRESHES_PER_SECOND or len(self._history) == 1:
            self._history.append((now, step))
        # A live bar reads this object at its own pace.
        if self._bar is None and self._line_is_due(now):
            self._print_line()

    def advance(self, count: int) -> None:
        """`count` more steps are done."""
        self.update(self._step + count)

    def note(self, text: str) -> None:
        """Prints a line (above the bar, where there is one)."""
        self._console.print(Text(printable(text)), soft_wrap=True)

    def time_left(self) -> float | None:
        """Estimated seconds to the end from the speed of the latest updates; None while unknown."""
        (start, first), (end, last) = self._history[0], self._history[-1]
        if self._total is None or last <= first or end <= start:
            return None
        left = (self._total - last) * (end - start) / (last - first)
        # Counts down between updates, which may be minutes apart.
        return max(0.0, left - (time.monotonic() - end))

    def _line_is_due(self, now: float) -> bool:
        since = now - self._shown_at
        if self._step == self._total:
            return self._step != self._shown_step
        if self._total and since >= _LINE_SECONDS_MIN:
            if self._step * 10 // self._total > self._shown_step * 10 // self._total:
                return True
        return since >= _LINE_SECONDS

    def _print_line(self) -> None:
        self._shown_at, self._shown_step = time.monotonic(), self._step
        parts = [f"{self._title} {self.position()}".strip(), *field_texts(self._fields)]
        if self._step != self._total and (left := self.time_left()) is not None:
            parts.append(f"{duration(left)} left")
        self._console.print(Text(printable("  ".join(parts))), soft_wrap=True)

    def position(self) -> str:
        return f"{self._step}" if self._total is None else f"{self._step}/{self._total}"


@contextlib.contextmanager
def late_progress(title: str, total: int, *, enabled: bool = True) -> Iterator[Callable[[int], None]]:
    """A function that is told how many more are done; a bar is shown where it takes longer than a second."""
    began, done, bar = time.monotonic(), 0, None
    with contextlib.ExitStack() as stack:

        def advance(count: int) -> None:
            nonlocal done, bar
            done += count
            if bar is None and time.monotonic() - began > 1:
                bar = stack.enter_context(Progress(total, done, title, enabled=enabled))
            elif bar is not None:
                bar.update(min(done, total))

        yield advance


class _Bar(rich.progress.Progress):
    """Draws a `Progress`: the bar, and the fields on a line of their own, where a narrow terminal has room for them."""

    def __init__(self, progress: Progress, console: Console):
        self._source = progress
        # Before the constructor below, which draws once.
        super().__init__(
            rich.progress.TextColumn("[bold]{task.description}"),
            rich.progress.BarColumn(bar_width=None),
            rich.progress.TextColumn("{task.fields[position]}", style="progress.download"),
            rich.progress.TextColumn("{task.fields[left]}", style="progress.remaining"),
            console=console,
            refresh_per_second=REFRESHES_PER_SECOND,
            expand=True,
        )
        self._task = self.add_task(
            rich.markup.escape(progress._title), total=progress._total, completed=progress._step, position="", left=""
        )

    def get_renderables(self) -> Iterable[Any]:
        source = self._source
        if self.tasks:
            left = source.time_left()
            task = self.tasks[0]
            task.completed = source._step
            task.fields["position"] = source.position()
            task.fields["left"] = "" if left is None else f"{duration(left)} left"
        yield from super().get_renderables()
        if source._fields:
            yield Text("   ").join(Text(printable(text), style="cyan") for text in field_texts(source._fields))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, console: Console | None = None) -> None:
    """Prints a table to standard output. Numbers are aligned to the right; floats have four significant digits."""
    rows = [list(row) for row in rows]
    drawn = Table(title=Text(printable(title)), title_justify="left")
    for index, name in enumerate(columns):
        numeric = all(isinstance(row[index], int | float | None) for row in rows)
        drawn.add_column(Text(printable(name)), justify="right" if numeric and rows else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(printable(_cell(value))) for value in row))
    (console or _console(stderr=False)).print(drawn)


def field_texts(fields: Mapping[str, Any]) -> list[str]:
    """["reward 0.25", "KL 0.0012", …]; a value that is no finite number is a dash."""
    return [f"{name} {_short(value)}" for name, value in fields.items()]


def duration(seconds: float) -> str:
    """Like 42 s, 3:07, 1:02:30 or 2 d 3:00:00."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    days, rest = divmod(whole, 86400)
    hours, minutes = rest // 3600, rest // 60 % 60
    clock = f"{hours}:{minutes:02d}:{rest % 60:02d}" if hours or days else f"{minutes}:{rest % 60:02d}"
    return f"{days} d {clock}" if days else clock


def printable(text: str) -> str:
    """Text without control characters: what a model writes must not drive the terminal."""
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs") else "\ufffd" for c in text)


def _short(value: Any) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    return str(value) if isinstance(value, int) else f"{float(value):.3g}"


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _console(stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    if stream.isatty():
        return Console(stderr=stderr)
    # Nobody's window sets the width of a log file: a table of many columns keeps its words whole.
    columns = os.environ.get("COLUMNS", "")
    return Console(stderr=stderr, width=max(200, int(columns) if columns.isdigit() else 0))
