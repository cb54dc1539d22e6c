"""`python -m rl_reason.prove --model=DIR_OR_NAME --data=NAME_OR_FILE --output=DIR`.

Proves statements of plane geometry: the engine alone, then with auxiliary constructions that the model proposes, of
which a beam search keeps the most probable. Writes DIR/results.jsonl, results.json, and of each problem that is solved
DIR/proofs/ID.txt with a figure, ID.png. The same command again goes on where it was stopped.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rl_reason.errors import UsageError, run_command
from rl_reason.geometry.statements import MOST_CLAUSES
from rl_reason.runtime.flags import HOSTS, REQUIRED, Spec, as_flags, parse_flags
from rl_reason.runtime.progress import table

FLAGS: Spec = {
    "model": (str, REQUIRED, "a Hugging Face folder or name"),
    "data": (str, REQUIRED, "imo_ag_30, jgex_ag_231, a .txt of statements, or a JSONL file whose `problem`s they are"),
    "output": (str, REQUIRED, "folder for results, proofs and figures"),
    "split": (str, "test", "split of a named data set"),
    "dir": (str, "", "folder with the files of a named data set"),
    "problems": (int, 0, "the first so many problems; 0: all"),
    "template": (str, "geometry", "prompt template, behind which the model writes clauses"),
    "beam": (int, 32, "statements of a problem that a level keeps and has proved, at most"),
    "depth": (int, 2, "levels, each of which adds a clause"),
    "samples": (int, 32, "clauses that are drawn behind each statement of the beam"),
    "temperature": (float, 1.0, "of the sampling, more than 0"),
    "top_p": (float, 1.0, "nucleus sampling; 1 is off"),
    "max_tokens": (int, 128, "limit of a problem's auxiliary clauses"),
    "time_limit": (float, 60.0, "seconds that the engine may take for a statement"),
    "memory": (float, 4.0, "GiB of data that the engine may have; 0: no limit"),
    "workers": (int, os.cpu_count() or 1, "statements that are proved at once, on each host"),
    "max_prompt_tokens": (int, 4096, "limit of a prompt"),
    "batch": (int, 256, "clauses that are drawn at the same time"),
    "dtype": (str, "auto", "auto, float32 or bfloat16"),
    "seed": (int, 0, "of the sampling"),
    **HOSTS,
}
KEYS = {
    "config.model.path": "--model",
    "config.model.dtype": "--dtype",
    "config.data.name": "--data",
    "config.data.dir": "--dir",
    "config.data.split": "--split",
    "config.data.template": "--template",
    "config.data.max_prompt_length": "--max_prompt_tokens",
    "config.reward.step_separator": "--model: separator",
}
"""What the rooms below call by a config's key is a flag here."""


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    _check(flags)
    # jax is imported after the flags are read: --help and a misspelt flag answer at once.
    from rl_reason.parallel import hosts

    with hosts.joined(*(flags[name] for name in HOSTS)):
        with as_flags(KEYS):
            from rl_reason.recipes.proving import prove

            made = prove(flags)
        if made:
            _show(flags, *made)


def _check(flags: Mapping[str, Any]) -> None:
    positive = ("beam", "depth", "samples", "max_tokens", "max_prompt_tokens", "batch", "workers")
    for name, least in (*((name, 1) for name in positive), ("problems", 0), ("memory", 0)):
        if not flags[name] >= least:
            raise UsageError(f"--{name}={flags[name]}: expected at least {least}")
    if flags["depth"] > MOST_CLAUSES:
        raise UsageError(f"--depth={flags['depth']}: expected at most {MOST_CLAUSES}, the auxiliary clauses of a proof")
    if not 0 < flags["time_limit"] < float("inf"):
        raise UsageError(f"--time_limit={flags['time_limit']}: expected seconds, more than 0")
    if flags["temperature"] == 0:
        raise UsageError("--temperature=0.0: all clauses that are drawn would be the same; expected more than 0")
    if not flags["model"]:
        raise UsageError("--model='': expected a Hugging Face folder or name")


def _show(flags: Mapping[str, Any], results: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> None:
    unsolved = [record for record in records if record["result"] != "solved"]
    if unsolved:
        columns = ["problem", "the engine alone", "clauses drawn", "statements with some", "seconds", ""]
        table("Not solved", columns, [_unsolved(record) for record in unsolved])
    rows = []
    for row in results["solved"]:
        low, high = (f"{100 * bound:.1f}" for bound in row["share_ci95"])
        name = "the engine alone" if row["depth"] == 0 else f"depth {row['depth']}"
        rows.append([name, f"{row['solved']}/{results['n']}", f"{100 * row['share']:.1f}% [{low}, {high}]"])
    title = f"{results['data']}: beam {results['beam']}, {results['samples']} clauses behind each statement"
    table(title, [results["model"], "solved", "share"], rows)
    print(f"In {flags['output']}: results.json, results.jsonl, proofs/")


def _unsolved(record: Mapping[str, Any]) -> list[Any]:
    counts = [", ".join(f"{n} {name}" for name, n in record[key].items()) for key in ("proposals", "results")]
    return [record["id"], record["result"], *(text or "none" for text in counts), record["seconds"], record["message"]]


if __name__ == "__main__":
    run_command(main)
