"""Made problems, drawn: what is given in black, what is asked in red, auxiliary constructions in blue.

    python -m experiments.alphageometry.problems --data=RUN/synthesis/held_out.jsonl --output=problems.png

DATA is a file of the recipe `synthesis`. Each problem that is drawn is proved again, with its auxiliary clauses.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rl_reason.data.problems import read_problems
from rl_reason.errors import RunError, UsageError, run_command
from rl_reason.geometry.drawing import draw_grid
from rl_reason.geometry.engine import check_package, prove
from rl_reason.geometry.statements import StatementError, parse_auxiliary, parse_statement
from rl_reason.runtime.flags import REQUIRED, Spec, parse_flags

FLAGS: Spec = {
    "data": (Path, REQUIRED, "rows with a problem and a solution, of the recipe synthesis"),
    "output": (Path, Path("problems.png"), "the picture"),
    "problems": (int, 9, "so many, the first ones of different figures"),
    "time_limit": (float, 60.0, "seconds for a proof"),
}


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    count = flags["problems"]
    if count < 1:
        raise UsageError(f"--problems={count}: expected at least 1")
    check_package("experiments.alphageometry.problems")
    of_figures: dict[str, dict] = {}
    for row in read_problems(flags["data"]):
        of_figures.setdefault(row["id"].partition(".")[0], row)
    drawn = []
    for row in list(of_figures.values())[:count]:
        try:
            statement = parse_statement(row["problem"])
            auxiliary = parse_auxiliary(row.get("solution", ""), statement)
        except StatementError as error:
            raise UsageError(f"--data={flags['data']}, id {row['id']!r}: {error}") from None
        result = prove(statement.plus(auxiliary), flags["time_limit"])
        if result.result != "solved":
            raise RunError(f"id {row['id']!r}: expected a proof, found {result.result}: {result.message}")
        drawn.append((statement, result.figure, [point for clause in auxiliary for point in clause.points]))
        print(f"{row['id']}: {statement} | {'; '.join(map(str, auxiliary))}")
    draw_grid(drawn, min(3, len(drawn)), flags["output"])
    print(f"Drawn in {flags['output']}")


if __name__ == "__main__":
    run_command(main)
