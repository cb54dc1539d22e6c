"""`python -m rl_reason.report DIR`: writes DIR/report.html, the page of a run, from the files of the run's folder."""

from __future__ import annotations

import sys
from pathlib import Path

from rl_reason.errors import UsageError, run_command
from rl_reason.runtime.report import write_report
from rl_reason.runtime.workdir import Workdir

USAGE = "usage: python -m rl_reason.report DIR"


def main() -> None:
    arguments = sys.argv[1:]
    if arguments in (["-h"], ["--help"]):
        print(f"{USAGE}\n\n{__doc__}")
        return
    if len(arguments) != 1 or arguments[0].startswith("-"):
        raise UsageError(f"{' '.join(arguments) or 'no argument'}: expected the folder of one run; {USAGE}")
    print(write_report(Workdir(Path(arguments[0]))))


if __name__ == "__main__":
    run_command(main)
