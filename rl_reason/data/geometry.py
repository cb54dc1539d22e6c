"""Files of statements in AlphaGeometry's language (`geometry.statements`): a line with a name, then a statement's.

The problem is the statement, in one form (single blanks, all arguments written out), and its answer the goal.
"""

from __future__ import annotations

from pathlib import Path

from rl_reason.data.problems import first_file, folders
from rl_reason.errors import UsageError
from rl_reason.geometry.statements import Statement, StatementError, parse_statement

ENDING = ".txt"
BENCHMARKS = ("imo_ag_30", "jgex_ag_231")
"""Those of the paper, in files of their authors."""


def read_geometry(path: Path) -> list[dict]:
    """The problems of a file, as `numbered_statements` has them."""
    return [problem for _, problem in numbered_statements(path)]


def numbered_statements(path: Path) -> list[tuple[int, dict]]:
    """(line of the statement, problem) of a file; blank lines and lines that begin with # are skipped.

    Raises:
        UsageError: names the file and the line.
    """
    problems: list[tuple[int, dict]] = []
    names: dict[str, int] = {}
    name, place = "", 0
    for number, line in enumerate(_lines(path), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if not name:
            name, place = line, number
            continue
        try:
            problems.append((number, _problem(name, parse_statement(line))))
        except StatementError as error:
            raise UsageError(f"{path}, line {number}: {error}") from None
        if name in names:
            raise UsageError(f"{path}, line {place}: {name!r} is the name in line {names[name]} too; expected another")
        names[name], name = place, ""
    if name:
        raise UsageError(f"{path}, line {place}: no statement follows the name {name[:60]!r}; expected CLAUSES ? GOAL")
    return problems


def holds_statements(path: Path) -> bool:
    """Whether a file has a statement among its lines: a text of another kind has none.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            return any(_is_statement(line) for line in lines)
    except OSError as error:
        raise UsageError(f"{path}: cannot read it: {error.strerror or error}; expected a text") from None


def geometry(benchmark: str, split: str, dir: str, seed: int) -> list[dict]:
    """A benchmark of the paper, of its file in `dir`. Test problems only."""
    if split != "test":
        raise UsageError(f"config.data.split={split!r}: {benchmark} has 'test'")
    if not dir:
        raise UsageError(f"config.data.dir='': {benchmark} has no download; expected a folder with {benchmark}{ENDING}")
    file = first_file(folder / f"{benchmark}{ENDING}" for folder in folders(dir, "geometry"))
    if file is None:
        raise UsageError(f"config.data.dir={dir!r}: {benchmark}{ENDING} is not there")
    return read_geometry(file)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}, line {line}: expected text in UTF-8") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot read it: {error.strerror or error}") from error


def _is_statement(line: str) -> bool:
    try:
        parse_statement(line.strip())
    except StatementError:
        return False
    return True


def _problem(name: str, statement: Statement) -> dict:
    return {"id": name, "problem": str(statement), "answer": " ".join(statement.goal), "source": "geometry"}
