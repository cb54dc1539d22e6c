"""Problems of plane geometry that need an auxiliary construction, made of random figures (`geometry.synthesis`).

    for each batch of figures:
        look for problems in each           in processes that can be killed
        write what was found                (figures.jsonl)
    leave out duplicates; hold some out, leave some to reinforcement

`problems.jsonl`, `reinforcement.jsonl` and `held_out.jsonl` have rows with `problem`, a statement that the engine does
not prove, and `solution`, auxiliary clauses with which it does. No premises are in two of them. `failures.jsonl` has a
row for each failure of the engine: `call`, the arguments with which `make_problems` makes the figure again; `reason`.
"""

from __future__ import annotations

import collections
import json
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rl_reason.errors import RunError, UsageError
from rl_reason.geometry.statements import parse_auxiliary, parse_statement
from rl_reason.geometry.writing import fingerprint, rewritten
from rl_reason.parallel import hosts
from rl_reason.recipes import record_files
from rl_reason.recipes.checks.synthesis import check_synthesis
from rl_reason.runtime.progress import Progress
from rl_reason.runtime.workdir import Workdir, find_workdir, make_workdir, write_atomic
from rl_reason.runtime.workers import Outcome, Pool
from rl_reason.settings import Settings, Synthesis

PROBLEMS, REINFORCEMENT, HELD_OUT = "problems.jsonl", "reinforcement.jsonl", "held_out.jsonl"
COUNTS, FIGURES, FAILURES = "synthesis.json", "figures.jsonl", "failures.jsonl"
MAKE = "rl_reason.geometry.synthesis:make_problems"
BATCH = 16
"""Figures of a process in one batch; what a kill loses."""
QUESTIONS = 10
"""A figure's process is killed after so many times the limit of one question."""


def run(settings: Settings, workdir_path: str | Path) -> None:
    """Makes problems as the settings say, in `workdir_path`; goes on where it was stopped.

    Raises:
        RunError: no problem is left to be trained on.
    """
    check_synthesis(settings)
    wanted, config = settings.synthesis, settings.to_config().to_dict()
    workdir = find_workdir(workdir_path, config)
    hosts.wait("synthesis: looked at")
    records = _resume(workdir, config, wanted.figures) if hosts.is_first() else []
    _search(settings, workdir.path / FIGURES, records)
    if hosts.is_first():
        files, counts = divide(records, wanted, settings.seed)
        for name, rows in files.items():
            write_atomic(workdir.path / name, record_files.lines(rows))
        write_atomic(workdir.path / COUNTS, json.dumps(counts, indent=2) + "\n")
        print(f"made of random figures: {', '.join(f'{value} {name}' for name, value in counts.items())}", flush=True)
        if failures := list(failed(records, settings)):
            write_atomic(workdir.path / FAILURES, record_files.lines(failures))
            print(f"{len(failures)} failures of the engine: listed in {workdir.path / FAILURES}", flush=True)
    hosts.wait("synthesis: written")
    if hosts.is_first() and not files[PROBLEMS]:
        told = ", ".join(
            f"config.synthesis.{key}={getattr(wanted, key)}" for key in ("figures", "held_out", "reinforcement")
        )
        raise RunError(f"{workdir.path}: no problem is left to be trained on with {told}; expected more, or fewer kept")


def _resume(workdir: Workdir, config: dict, figures: int) -> list[dict]:
    """The records of figures that are behind."""
    file = workdir.path / FIGURES
    there = file.read_bytes().count(b"\n") if file.exists() else 0
    if there > figures:
        raise UsageError(f"config.synthesis.figures={figures}: {file} has {there}; expected at least so many")
    records = record_files.read_kept(file, [str(index) for index in range(figures)], 1)
    make_workdir(workdir, config)
    write_atomic(file, record_files.lines(records))  # No torn line behind what is kept.
    return records


def _search(settings: Settings, file: Path, records: list[dict]) -> None:
    """Appends the records of all figures that are not yet behind; each host looks at its share of a batch."""
    wanted = settings.synthesis
    workers = wanted.workers or os.cpu_count() or 1
    begun = hosts.gather(len(records))[0]
    found = sum(len(record["problems"]) for record in records)
    if begun == wanted.figures:
        return
    with (
        Pool(workers, [MAKE], wanted.memory) as pool,
        Progress(wanted.figures, begun, "synthesis", enabled=hosts.is_first()) as progress,
    ):
        step = BATCH * sum(hosts.gather(workers))
        for start in range(begun, wanted.figures, step):
            indices = range(start, min(start + step, wanted.figures))
            mine = indices[hosts.share(len(indices))]
            items = [_call(settings, index) for index in mine]
            outcomes = pool.map(MAKE, items, QUESTIONS * wanted.timeout)
            made = [_record(index, outcome) for index, outcome in zip(mine, outcomes, strict=True)]
            batch = [record for part in hosts.gather(made) for record in part]
            found += sum(len(record["problems"]) for record in batch)
            if hosts.is_first():
                record_files.append(file, batch)
                records += batch
            progress.update(indices[-1] + 1, {"problems": found})


def _call(settings: Settings, index: int) -> tuple:
    """The arguments of `make_problems`."""
    wanted = settings.synthesis
    return settings.seed, index, *wanted.clauses, wanted.timeout


def _record(index: int, outcome: Outcome) -> dict[str, Any]:
    """What is written of a figure. One whose process was killed, or died, has no problems."""
    made = outcome.value
    if outcome.status != "ok":
        made = {"problems": [], "counts": {_NAMES[outcome.status]: 1}, "failures": [outcome.message]}
    return {"id": str(index), **{key: value for key, value in made.items() if key != "failures" or value}}


def failed(records: Sequence[dict], settings: Settings) -> Iterator[dict]:
    """A row for each failure of the engine, or of its process, with what makes the figure again."""
    for record in records:
        for reason in record.get("failures", ()):
            yield {"call": _call(settings, int(record["id"])), "reason": reason}


_NAMES = {"timeout": "timeouts", "crash": "crashes", "error": "failures"}


def divide(records: Sequence[dict], wanted: Synthesis, seed: int) -> tuple[dict[str, list[dict]], dict[str, int]]:
    """The rows of each file, and counts of all that was seen.

    Args:
        records: of figures, in order.
        wanted: how many are held out, the share that is left to reinforcement, and how many writings there are of each
            problem of these and of the others.
        seed: of the writings.
    """
    counts: collections.Counter[str] = collections.Counter()
    by_premises: dict[str, list[dict]] = {}
    known: set[str] = set()
    for record in records:
        counts.update(record["counts"])
        for place, (text, auxiliary) in enumerate(record["problems"]):
            statement = parse_statement(text)
            whole = fingerprint(statement.clauses, statement.goal)
            if whole in known:
                counts["duplicates"] += 1
                continue
            known.add(whole)
            row = _row(f"{record['id']}.{place}", text, auxiliary)
            by_premises.setdefault(fingerprint(statement.clauses), []).append(row)
    files: dict[str, list[dict]] = {PROBLEMS: [], REINFORCEMENT: [], HELD_OUT: []}
    # Fingerprints are as good as random numbers.
    for place, (_, rows) in enumerate(sorted(by_premises.items()), start=-wanted.held_out):
        if place < 0:
            files[HELD_OUT].append(rows[0])  # Problems of the same premises would not be independent.
            counts["of held-out premises"] += len(rows) - 1
        else:
            left = int((place + 1) * wanted.reinforcement) > int(place * wanted.reinforcement)
            files[REINFORCEMENT if left else PROBLEMS] += rows
    made = {name.removesuffix(".jsonl").replace("_", " "): len(rows) for name, rows in files.items()}
    for name in (PROBLEMS, REINFORCEMENT):
        files[name] = [row for problem in files[name] for row in _writings(problem, wanted.writings, seed)]
    return files, dict(sorted(counts.items())) | {"premises": len(by_premises)} | made


def _row(id: str, text: str, auxiliary: str) -> dict:
    goal = text.partition("? ")[2]
    return {"id": id, "problem": text, "solution": auxiliary, "answer": goal, "source": "synthesis"}


def _writings(problem: dict, count: int, seed: int) -> list[dict]:
    """The problem, and others that differ in how they are written only."""
    statement = parse_statement(problem["problem"])
    auxiliary = parse_auxiliary(problem["solution"], statement)
    rows = {problem["problem"]: problem}
    for number in range(1, count):
        rng = random.Random(f"writing/{seed}/{problem['id']}/{number}")
        other, clauses = rewritten(statement, auxiliary, rng)
        row = _row(f"{problem['id']}/{number}", str(other), "; ".join(map(str, clauses)))
        rows.setdefault(row["problem"], row)
    return list(rows.values())
