"""Of an evaluation's samples or searches the right ones that end and differ, as a file that fine-tuning reads.

    python -m experiments.unsuccessful.select --found=DIR --dir=DATA --output=FILE.jsonl

DIR is the output of `rl_reason.evaluate` on the training questions of a named data set.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from experiments.unsuccessful.search_data import select
from rl_reason.data import sources
from rl_reason.errors import RunError, UsageError, run_command
from rl_reason.runtime.flags import REQUIRED, Spec, parse_flags
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.workdir import write_atomic

FLAGS: Spec = {
    "found": (Path, REQUIRED, "folder of the evaluation"),
    "output": (Path, REQUIRED, "the file: rows with problem, answer and solution"),
    "data": (str, "gsm8k+math", "the data set that was asked"),
    "dir": (str, "", "folder with local files of it; empty: the public download"),
}


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    file = flags["found"] / "samples.jsonl"
    if not file.is_file():
        raise UsageError(f"--found={flags['found']}: {file.name} is not there; expected the output of an evaluation")
    selected = select(read_jsonl(file), sources.load(flags["data"], "train", flags["dir"], 0))
    if not selected:
        raise RunError(f"{file}: none of the completions is right and ends; expected some to learn from")
    write_atomic(flags["output"], "".join(json.dumps(row) + "\n" for row in selected))
    print(f"{len(selected)} solutions in {flags['output']}")


if __name__ == "__main__":
    run_command(main)
