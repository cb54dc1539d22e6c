"""Grades completions of a JSONL file: `python -m rl_reason.grade --grader=NAME --input=JSONL --output=JSONL`.

Rows have `completion` and `answer`. In its place stand for `code` `tests` and `entry_point`, or `cases`; for `geometry`
`problem`, the statement; for the graders of the text alone (format, language, length, repetition) nothing. choice reads
`choices`, language reads `problem` or `language`. The output has the same rows in the same order, with `reward`,
`verdict` (correct, wrong, unparseable, timeout, crash) and `extracted`, the final answer that counted. An `answer` that
the grader cannot read, or a statement without a figure, ends the command with exit 2.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rl_reason.errors import RunError, UsageError, run_command
from rl_reason.rewards import REWARDS, VERDICTS
from rl_reason.rewards.combination import Graded, Rewarder
from rl_reason.runtime.flags import REQUIRED, parse_flags
from rl_reason.settings import Reward

_FLAGS = {
    "grader": (str, REQUIRED, f"{', '.join(REWARDS)} (accuracy and math are the same), or package.module:function"),
    "input": (Path, REQUIRED, "a JSONL file with completion and answer"),
    "output": (Path, REQUIRED, "the JSONL file that is written"),
    "timeout": (float, None, "seconds for a completion (default: 5, of code and geometry 20)"),
    "memory": (float, 4.0, "GiB of data that a worker may have; 0: no limit"),
    "workers": (int, min(8, os.cpu_count() or 1), "processes"),
    "max_characters": (int, 4000, "length only: where it reaches -1, for rows that do not say it"),
}

_NEEDED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("format", "language", "length", "repetition"), ()),
    **dict.fromkeys(("code", "code_unisolated"), ("tests", "entry_point")),
    "geometry": ("problem",),
}
"""Grader → the keys that its rows have beside `completion`; of all others `answer`."""


def main() -> None:
    flags = parse_flags(sys.argv[1:], _FLAGS, __doc__)
    for name in ("timeout", "workers", "max_characters"):
        if flags[name] is not None and not flags[name] > 0:
            raise UsageError(f"--{name}={flags[name]}: expected more than 0")
    if not 0 <= flags["memory"] < math.inf:
        raise UsageError(f"--memory={flags['memory']}: expected GiB, or 0 for no limit")
    grader = flags["grader"]
    limits = {name: flags[name] for name in ("memory", "workers", "max_characters")}
    settings = Reward(names=(grader,), weights=(1.0,), timeout=flags["timeout"] or 0.0, **limits)
    with Rewarder(settings, key="--grader") as rewarder:
        numbered = read_rows(flags["input"], _NEEDED.get(grader, ("answer",)))
        rows = [row for _, row in numbered]
        problems = [_problem(row) for row in rows]
        with _progress_bar("checking", len(rows)) as advance:
            _refuse(rewarder.check_golds(problems, advance), numbered, flags["input"])
        with _progress_bar("grading", len(rows)) as advance:
            graded = rewarder.grade([row["completion"] for row in rows], problems, advance)
    for row, reward, verdict, extracted in zip(rows, graded.total, graded.verdicts, graded.extracted, strict=True):
        row.update(reward=float(reward), verdict=verdict, extracted=extracted)
    write_rows(flags["output"], rows)
    _summarize(grader, graded, flags["output"])


def read_rows(path: Path, needed: Sequence[str] = ("answer",)) -> list[tuple[int, dict]]:
    """(line, row) of a JSONL file; blank lines are skipped.

    Raises:
        UsageError: the file cannot be read, or a row is not an object with a text `completion` and the `needed` keys.
    """
    rows = []
    try:
        with open(path, "rb") as file:
            for place, line in enumerate(file, start=1):
                if line.strip():
                    rows.append((place, _row(line, f"{path}, line {place}", needed)))
    except OSError as error:
        raise UsageError(f"--input={path}: cannot read it: {error.strerror or error}") from error
    return rows


def _refuse(unreadable: dict[int, str], rows: list[tuple[int, dict]], path: Path) -> None:
    """Raises `UsageError` for rows that nothing can be judged by."""
    for index, reason in unreadable.items():
        others = f"; {len(unreadable) - 1} more like it" if len(unreadable) > 1 else ""
        line, row = rows[index]
        id = f", id {row['id']!r}" if "id" in row else ""
        raise UsageError(f"{path}, line {line}{id}: {reason}{others}; expected problems that it can judge by")


def write_rows(path: Path, rows: list[dict]) -> None:
    """Writes a JSONL file as a whole or not at all."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = file.name
            file.writelines(json.dumps(row) + "\n" for row in rows)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise RunError(f"--output={path}: cannot write it: {error.strerror or error}") from error


def _row(line: bytes, where: str, needed: Sequence[str]) -> dict:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: not JSON: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(row, dict):
        raise UsageError(f"{where}: expected an object, got {type(row).__name__}")
    if needed == _NEEDED["code"] and "cases" in row:  # Which the grader reads.
        needed = ()
    for key in ("completion", *needed):
        kinds = (str, int, float) if key == "answer" else (str,)
        if key not in row:
            raise UsageError(f"{where}: the key {key!r} is missing")
        if not isinstance(row[key], kinds) or isinstance(row[key], bool):
            raise UsageError(f"{where}: {key}={str(row[key])[:80]!r}: expected text, got {type(row[key]).__name__}")
    return row


def _problem(row: dict) -> dict:
    """What the grader sees of a row: all but the completion, the answer as text."""
    problem = {key: value for key, value in row.items() if key != "completion"}
    if "answer" in problem and not isinstance(problem["answer"], str):
        problem["answer"] = str(problem["answer"])
    return problem


@contextlib.contextmanager
def _progress_bar(title: str, total: int) -> Iterator[Callable[[int], None] | None]:
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=total)
        yield lambda count: progress.advance(task, count)


def _summarize(grader: str, graded: Graded, output: Path) -> None:
    for failure in graded.failures[:3]:
        print(f"row {failure['index'] + 1}: {failure['kind']}: {failure['message']}", file=sys.stderr)
    if len(graded.failures) > 3:
        print(f"and {len(graded.failures) - 3} more failures", file=sys.stderr)
    verdicts = Counter(graded.verdicts)
    told = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in VERDICTS)
    mean = f", mean reward {graded.total.mean():.4f}" if len(graded.total) else ""
    print(f"{grader}: {len(graded.total)} completions: {told}{mean}; written to {output}")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


if __name__ == "__main__":
    run_command(main)
