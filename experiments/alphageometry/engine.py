"""The symbolic engine alone on the paper's two benchmarks: how many it proves, and why not the others.

    python -m experiments.alphageometry.engine --data=DIR --output=runs/alphageometry_engine

DIR has `imo_ag_30.txt` and `jgex_ag_231.txt`. Statements are proved in processes with limits of time and memory; the
same command again goes on where it stopped. Writes OUTPUT/results.jsonl, results.json, and of each problem that is
solved OUTPUT/proofs/BENCHMARK/ID.txt with a figure, ID.png.
"""

from __future__ import annotations

import json
import os
import queue
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from rl_reason.data.geometry import BENCHMARKS, ENDING, read_geometry
from rl_reason.errors import UsageError, run_command
from rl_reason.geometry.drawing import draw
from rl_reason.geometry.engine import PACKAGES, RESULTS, Result, check_package, result_of
from rl_reason.geometry.statements import parse_statement
from rl_reason.runtime.flags import REQUIRED, Spec, parse_flags
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.progress import Progress, table
from rl_reason.runtime.workdir import write_atomic
from rl_reason.runtime.workers import Pool

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
GRACE = 30.0
"""Seconds that a process may take beyond the limit, which it keeps itself, before it is killed."""
PROVE = "rl_reason.geometry.engine:prove_text"


def read(folder: Path, first: int) -> dict[str, list[dict]]:
    """Benchmark → its problems."""
    rows = {}
    for name in BENCHMARKS:
        file = folder / f"{name}{ENDING}"
        if not file.is_file():
            raise UsageError(f"--data={folder}: {file.name} is not there")
        rows[name] = read_geometry(file)[: first or None]
    return rows


def open_output(output: Path, settings: dict) -> dict[tuple[str, str], dict]:
    """What is there already, by benchmark and problem; an error where it was made with other settings."""
    made = output / "settings.json"
    if made.exists() and json.loads(made.read_text()) != settings:
        raise UsageError(f"--output={output}: holds results of {made.read_text().strip()}; expected another folder")
    output.mkdir(parents=True, exist_ok=True)
    write_atomic(made, json.dumps(settings) + "\n")
    records = output / "results.jsonl"
    if not records.exists():
        return {}
    whole = records.read_bytes()
    # The last line may be torn, by what stopped the command.
    write_atomic(records, whole[: whole.rfind(b"\n") + 1])
    return {(record["benchmark"], record["id"]): record for record in read_jsonl(records)}


def prove_all(texts: Sequence[str], limit: float, memory: float, processes: int) -> Iterator[tuple[int, Result]]:
    """(index, result) of each statement, as they come."""
    pools: queue.SimpleQueue[Pool] = queue.SimpleQueue()
    started = [Pool(1, [PROVE], memory) for _ in range(min(processes, len(texts)))]
    for pool in started:
        pools.put(pool)

    def prove(text: str) -> Result:
        pool = pools.get()
        try:
            return result_of(pool.map(PROVE, [(text, limit)], limit + GRACE)[0])
        finally:
            pools.put(pool)

    executor = ThreadPoolExecutor(max(len(started), 1), "prove")
    try:
        futures = {executor.submit(prove, text): index for index, text in enumerate(texts)}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        for pool in started:
            pool.close()


def save(output: Path, benchmark: str, problem: dict, result: Result) -> dict:
    """The record of a problem; its proof and figure are written before."""
    if result.proof:
        file = output / "proofs" / benchmark / f"{problem['id'].replace('/', '_')}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, f"{problem['id']}\n{problem['problem']}\n\n{result.proof}\n")
        draw(parse_statement(problem["problem"]), result.figure, file.with_suffix(".png"))
    record = {"benchmark": benchmark, "id": problem["id"], "result": result.result}
    return record | {"seconds": round(result.seconds, 3), "message": result.message}


def summarize(rows: dict[str, list[dict]], records: dict[tuple[str, str], dict], output: Path) -> None:
    """Prints solved / total beside the published numbers and names what was not solved; writes results.json."""
    results: dict[str, dict] = {}
    unsolved = []
    for benchmark, problems in rows.items():
        mine = [records[benchmark, problem["id"]] for problem in problems]
        counts = {result: sum(record["result"] == result for record in mine) for result in RESULTS}
        results[benchmark] = {"n": len(mine), **counts, "published": PUBLISHED[benchmark]}
        left = [record for record in mine if record["result"] != "solved"]
        results[benchmark]["unsolved"] = {record["id"]: record["result"] for record in left}
        unsolved += [[benchmark, *(record[key] for key in ("id", "result", "seconds", "message"))] for record in left]
    write_atomic(output / "results.json", json.dumps(results, indent=1) + "\n")
    if unsolved:
        table("Not solved", ["benchmark", "problem", "cause", "seconds", ""], unsolved)
    columns = ["benchmark", "solved", "problems", "published", *RESULTS[1:]]
    lines = []
    for name, row in results.items():
        total = {"imo_ag_30": 30, "jgex_ag_231": 231}[name]
        lines.append([name, row["solved"], row["n"], f"{row['published']}/{total}", *(row[key] for key in RESULTS[1:])])
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
    rows, output = read(flags["data"], flags["problems"]), flags["output"]
    records = open_output(output, {key: flags[key] for key in ("time_limit", "memory")} | PACKAGES)
    todo = [(name, row) for name, problems in rows.items() for row in problems if (name, row["id"]) not in records]
    total = sum(map(len, rows.values()))
    results = prove_all([row["problem"] for _, row in todo], flags["time_limit"], flags["memory"], flags["processes"])
    done = total - len(todo)
    with Progress(total, done, title="prove") as progress:
        with open(output / "results.jsonl", "a", encoding="utf-8") as file:
            for done, (index, result) in enumerate(results, start=done + 1):  # noqa: B020
                benchmark, row = todo[index]
                record = records[benchmark, row["id"]] = save(output, benchmark, row, result)
                file.write(json.dumps(record) + "\n")
                file.flush()
                solved = sum(record["result"] == "solved" for record in records.values())
                progress.update(done, {"solved": solved})
    summarize(rows, records, output)
    print(f"Written to {output}")


if __name__ == "__main__":
    run_command(main)
