"""Grades completions of a JSONL file: `python -m rl_reason.grade --grader=NAME --input=JSONL --output=JSONL`.

Rows have `completion` and `answer`; for `code`, `tests` and `entry_point`, or `cases`, in place of `answer`. The output
has the same rows in the same order, with `reward`, `verdict` (correct, wrong, unparseable, timeout, crash) and
`extracted`, the final answer that was judged.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rl_reason.errors import RunError, UsageError, run_command
from rl_reason.rewards import VERDICTS
from rl_reason.rewards.combination import Graded, Rewarder
from rl_reason.runtime.flags import REQUIRED, parse_flags
from rl_reason.settings import Reward

_FLAGS = {
    "grader": (str, REQUIRED, "math (the same as accuracy), number, format, code, or package.module:function"),
    "input": (Path, REQUIRED, "a JSONL file with completion and answer"),
    "output": (Path, REQUIRED, "the JSONL file that is written"),
    "timeout": (float, None, "seconds for a completion (default: 5, of code 20)"),
    "workers": (int, min(8, os.cpu_count() or 1), "processes"),
}

_NEEDED = {"format": (), "code": ("tests", "entry_point"), "code_unisolated": ("tests", "entry_point")}
"""Grader → the keys that its rows have beside `completion`; of all others `answer`."""


def main() -> None:
    flags = parse_flags(sys.argv[1:], _FLAGS, __doc__)
    for name in ("timeout", "workers"):
        if flags[name] is not None and not flags[name] > 0:
            raise UsageError(f"--{name}={flags[name]}: expected more than 0")
    grader = flags["grader"]
    settings = Reward(names=(grader,), weights=(1.0,), timeout=flags["timeout"] or 0.0, workers=flags["workers"])
    with Rewarder(settings, key="--grader") as rewarder:
        rows = read_rows(flags["input"], _NEEDED.get(grader, ("answer",)))
        with _progress_bar(len(rows)) as advance:
            graded = rewarder.grade([row["completion"] for row in rows], [_problem(row) for row in rows], advance)
    for row, reward, verdict, extracted in zip(rows, graded.total, graded.verdicts, graded.extracted, strict=True):
        row.update(reward=float(reward), verdict=verdict, extracted=extracted)
    write_rows(flags["output"], rows)
    _summarize(grader, graded, flags["output"])


def read_rows(path: Path, needed: Sequence[str] = ("answer",)) -> list[dict]:
    """The rows of a JSONL file; blank lines are skipped.

    Raises:
        UsageError: the file cannot be read, or a row is not an object with a text `completion` and the `needed` keys.
    """
    rows = []
    try:
        with open(path, "rb") as file:
            for place, line in enumerate(file, start=1):
                if line.strip():
                    rows.append(_row(line, f"{path}, line {place}", needed))
    except OSError as error:
        raise UsageError(f"--input={path}: cannot read it: {error.strerror or error}") from error
    return rows


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
def _progress_bar(total: int) -> Iterator[Callable[[int], None] | None]:
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("grading"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("grading", total=total)
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
