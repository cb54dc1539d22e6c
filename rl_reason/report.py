"""`python -m rl_reason.report DIR [DIR …] [--output=FILE] [--serve [--port=8000]]`: the page of runs, one file that
needs no network.

Of one folder it is DIR/report.html, of several, compared in one page, comparison.html in the current folder. A folder
is one of `rl_reason.train` (also of a pipeline, or of a run that goes on), `rl_reason.evaluate` or
`rl_reason.generate`. With --serve nothing is written: the page is on localhost until Ctrl-C, and loading it again
shows what has been added to the folders.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from rl_reason.errors import UsageError, run_command
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.report import make_page
from rl_reason.runtime.report.folders import read_runs
from rl_reason.runtime.report.server import PageServer
from rl_reason.runtime.workdir import write_atomic

FLAGS: Spec = {
    "output": (str, "", "the file that is written; empty: DIR/report.html, or comparison.html"),
    "serve": (bool, False, "serves the page on localhost, and writes nothing"),
    "port": (int, 8000, "of --serve; 0: any that is free"),
}


def main() -> None:
    arguments = sys.argv[1:]
    folders = list(itertools.takewhile(lambda argument: not argument.startswith("-"), arguments))
    flags = parse_flags(arguments[len(folders) :], FLAGS, description=__doc__)
    if not folders:
        raise UsageError("expected the folder of a run, as in: python -m rl_reason.report DIR")
    if flags["serve"] and flags["output"]:
        raise UsageError(f"--output={flags['output']}: --serve writes nothing; expected one of them")
    runs = read_runs(folders)
    for run in runs:
        if run.is_empty:
            raise UsageError(f"{run.path}: no metrics, evaluations or samples yet; expected a run that has some")
    if flags["serve"]:
        return _serve([Path(folder) for folder in folders], flags["port"])
    default = runs[0].path / "report.html" if len(runs) == 1 else Path("comparison.html")
    output = Path(flags["output"] or default)
    if not output.absolute().parent.is_dir() or output.is_dir():
        raise UsageError(f"--output={output}: expected a file in a folder that exists")
    write_atomic(output, make_page(runs))
    print(output)


def _serve(folders: list[Path], port: int) -> None:
    with PageServer(folders, port) as server:
        print(f"{server.address} until Ctrl-C", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    run_command(main)
