"""The symbolic engine alone on the paper's two benchmarks: how many it proves, and why not the others.

    python -m experiments.alphageometry.engine --data=DIR --output=runs/alphageometry_engine

DIR has `imo_ag_30.txt` and `jgex_ag_231.txt`. Statements are proved in processes with limits of time and memory; the
same command again goes on where it stopped. Writes OUTPUT/results.jsonl, results.json, and of each problem that is
solved OUTPUT/proofs/BENCHMARK/ID.txt with a figure, ID.png.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from concurrent.futures import as_completed
from pathlib import Path

from rl_reason.data.geometry import BENCHMARKS, ENDING, read_geometry
from rl_reason.errors import UsageError, run_command
from rl_reason.geometry.engine import PACKAGES, RESULTS, Result, check_package
from rl_reason.geometry.provers import Provers
from rl_reason.geometry.statements import parse_statement
from rl_reason.recipes.proof_folder import ProofFolder, file_name
from rl_reason.runtime.flags import REQUIRED, Spec, parse_flags
from rl_reason.runtime.progress import Progress, table

FLAGS: Spec = {
    "data": (Path, REQUIRED, "folder with imo_ag_30.txt and jgex_ag_231.txt"),
    "output": (Path, Path("runs/alphageometry_engine"), "folder for results, proofs and figures"),
    "time_limit": (float, 300.0, "seconds for a statement"),
    "memory": (float, 4.0, "GiB of data that the engine may have; 0: no limit"),
    "processes": (int, os.cpu_count() or 1, "statements at once"),
    "problems": (int, 0, "the first so many of each benchmark; 0: all"),
}
PUBLISHED = {"imo_ag_30": 14, "jgex_ag_231": 198}
"""Solved by DD+AR without the language model (Nature 2024, table 1 and extended data)."""
RECORDS = "results.jsonl"


def read(folder: Path, first: int) -> dict[str, list[dict]]:
    """Benchmark → its problems."""
    rows = {}
    for name in BENCHMARKS:
        file = folder / f"{name}{ENDING}"
        if not file.is_file():
            raise UsageError(f"--data={folder}: {file.name} is not there")
        rows[name] = read_geometry(file)[: first or None]
    return rows


def save(folder: ProofFolder, benchmark: str, problem: dict, result: Result) -> dict:
    """The record of a problem; its proof and figure are written before."""
    if result.proof:
        folder.save(f"{benchmark}/{file_name(problem['id'])}", parse_statement(problem["problem"]), result)
    record = {"benchmark": benchmark, "id": problem["id"], "result": result.result}
    record |= {"seconds": round(result.seconds, 3), "message": result.message}
    folder.add(RECORDS, record)
    return record


def summarize(rows: dict[str, list[dict]], records: dict[tuple[str, str], dict], folder: ProofFolder) -> None:
    """Prints what was not solved, and `show`; writes results.json: counts, `seconds` of the engine, those of its
    `longest` statement, and the causes of what was not solved."""
    results: dict[str, dict] = {}
    unsolved = []
    for benchmark, problems in rows.items():
        mine = [records[benchmark, problem["id"]] for problem in problems]
        counts = {result: sum(record["result"] == result for record in mine) for result in RESULTS}
        results[benchmark] = {"n": len(mine), **counts, "published": PUBLISHED[benchmark]}
        seconds = [record["seconds"] for record in mine]
        results[benchmark] |= {"seconds": round(sum(seconds), 1), "longest": round(max(seconds), 1)}
        left = [record for record in mine if record["result"] != "solved"]
        results[benchmark]["unsolved"] = {record["id"]: record["result"] for record in left}
        results[benchmark]["messages"] = {record["id"]: record["message"] for record in left if record["message"]}
        unsolved += [[benchmark, *(record[key] for key in ("id", "result", "seconds", "message"))] for record in left]
    folder.finish(results)
    if unsolved:
        table("Not solved", ["benchmark", "problem", "cause", "seconds", ""], unsolved)
    show(results)


def show(results: Mapping[str, Mapping]) -> None:
    """Solved and total beside the published numbers."""
    columns = ["benchmark", "solved", "problems", "published", *RESULTS[1:], "seconds", "longest"]
    lines = []
    for name, row in results.items():
        total = {"imo_ag_30": 30, "jgex_ag_231": 231}[name]
        counts = (row[key] for key in RESULTS[1:])
        seconds = (f"{row[key]:.1f}" for key in ("seconds", "longest"))
        lines.append([name, row["solved"], row["n"], f"{row['published']}/{total}", *counts, *seconds])
    table("The engine alone", columns, lines)


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    for name in ("time_limit", "processes"):
        if not flags[name] > 0:
            raise UsageError(f"--{name}={flags[name]}: expected more than 0")
    for name in ("memory", "problems"):
        if not flags[name] >= 0:
            raise UsageError(f"--{name}={flags[name]}: expected 0 or more")
    check_package("experiments.alphageometry.engine")
    rows = read(flags["data"], flags["problems"])
    statements = json.dumps([[name, row["id"], row["problem"]] for name, of in rows.items() for row in of])
    asked = {key: flags[key] for key in ("time_limit", "memory")} | PACKAGES
    asked["data_sha256"] = hashlib.sha256(statements.encode()).hexdigest()
    folder = ProofFolder(flags["output"], asked)
    records = {(record["benchmark"], record["id"]): record for record in folder.records(RECORDS)}
    todo = [(name, row) for name, problems in rows.items() for row in problems if (name, row["id"]) not in records]
    total = sum(map(len, rows.values()))
    done = total - len(todo)
    with Progress(total, done, title="prove") as progress, Provers(flags["processes"], flags["memory"]) as provers:
        begun = {provers.submit(row["problem"], flags["time_limit"]): (name, row) for name, row in todo}
        for done, future in enumerate(as_completed(begun), start=done + 1):  # noqa: B020
            benchmark, row = begun[future]
            records[benchmark, row["id"]] = save(folder, benchmark, row, future.result())
            solved = sum(record["result"] == "solved" for record in records.values())
            progress.update(done, {"solved": solved})
    summarize(rows, records, folder)
    print(f"Written to {folder.path}")


if __name__ == "__main__":
    run_command(main)
