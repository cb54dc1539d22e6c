"""The grader `code` on public problems: reference solutions have to pass, other programs to fail, and how fast it is.

    python -m experiments.graders_code.run --data=DIR [--output=DIR2]

DIR has `humaneval.jsonl`, `mbpp.jsonl` and `mbpp_sanitized.jsonl`. Writes DIR2/results.json and prints the tables.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from rl_reason.data.jsonl import read_jsonl
from rl_reason.errors import UsageError, run_command
from rl_reason.rewards import VERDICTS
from rl_reason.rewards.combination import Rewarder
from rl_reason.runtime.flags import REQUIRED, Spec, parse_flags
from rl_reason.runtime.progress import Progress, table
from rl_reason.runtime.sandbox.jail import Jail
from rl_reason.runtime.workdir import write_atomic
from rl_reason.settings import Reward

FLAGS: Spec = {
    "data": (str, REQUIRED, "folder of the three files"),
    "output": (str, "runs/graders_code", "folder of results.json"),
    "workers": (int, 2, "processes"),
    "timeout": (float, 60.0, "seconds for a program"),
}
FILES = ("humaneval", "mbpp", "mbpp_sanitized")
SLOW = ("mbpp/123", "mbpp_sanitized/123")
"""Whose reference solution computes for seconds: left out of what is measured."""

Kind = Callable[[list[dict], int], str | None]
KINDS: dict[str, tuple[bool, Kind]] = {
    "reference solution": (True, lambda rows, i: rows[i]["solution"]),
    "in a fenced block": (True, lambda rows, i: f"Like this:\n```python\n{rows[i]['solution']}\n```\n"),
    "body that continues the prompt": (True, lambda rows, i: _body(rows[i])),
    "returns None": (False, lambda rows, i: f"def {rows[i]['entry_point']}(*a, **k): return None"),
    "solution of the next problem": (False, lambda rows, i: _renamed(rows[(i + 1) % len(rows)], rows[i])),
    "empty": (False, lambda rows, i: ""),
}
"""What is graded → (whether it has to pass, the completion for a row; None: there is none)."""


def _body(row: dict) -> str | None:
    return row["solution"].removeprefix(row["prompt"]) if row["prompt_type"] == "completion" else None


def _renamed(other: dict, row: dict) -> str:
    return f"{other['solution']}\n\n{row['entry_point']} = {other['entry_point']}\n"


def grade_kind(rewarder: Rewarder, rows: list[dict], kind: str, title: str) -> dict | None:
    """One row of the table; None where there is nothing of that kind."""
    passes, make = KINDS[kind]
    pairs = [(completion, row) for i, row in enumerate(rows) if (completion := make(rows, i)) is not None]
    if not pairs:
        return None
    began = time.monotonic()
    with Progress(len(pairs), title=title) as progress:
        graded = rewarder.grade([completion for completion, _ in pairs], [row for _, row in pairs], progress.advance)
    seconds = time.monotonic() - began
    odd = [row["id"] for (_, row), verdict in zip(pairs, graded.verdicts, strict=True)
           if (verdict == "correct") != passes]  # fmt: skip
    counts = Counter(graded.verdicts)
    return {
        "kind": kind, "has_to_pass": passes, "n": len(pairs), "seconds": seconds, "odd": odd,
        "errors": graded.counts["error"], **{verdict: counts[verdict] for verdict in VERDICTS},
    }  # fmt: skip


def measure(rows: list[dict], workers: int) -> dict:
    """Programs a second through the pool, and CPU time of one, all processes together."""
    rows = [row for row in rows if row["id"] not in SLOW]
    with Rewarder(Reward(names=("code",), workers=workers)) as rewarder:
        warm = rows[:20]
        rewarder.grade([row["solution"] for row in warm], warm)
        began = time.monotonic()
        rewarder.grade([row["solution"] for row in rows], rows)
        seconds = time.monotonic() - began
    before = _cpu_seconds()
    with Jail() as jail:
        for row in rows[:300]:
            jail.examine([row["solution"]], row["tests"], row["entry_point"], "", 20.0)
    # Of a jail that has ended, and so counts; its start is among it.
    cpu = (_cpu_seconds() - before) / min(300, len(rows))
    return {"programs": len(rows), "workers": workers, "programs_a_second": len(rows) / seconds, "cpu_ms": 1e3 * cpu}


def _cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    data = {}
    for name in FILES:
        path = Path(flags["data"]).expanduser() / f"{name}.jsonl"
        if not path.is_file():
            raise UsageError(f"--data={flags['data']}: holds no {name}.jsonl")
        data[name] = [row for _, row in read_jsonl(path)]
    Path(flags["output"]).mkdir(parents=True, exist_ok=True)
    settings = Reward(names=("code",), timeout=flags["timeout"], workers=flags["workers"])
    results: dict = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load": os.getloadavg()[0],
        "graded": {},
    }
    with Rewarder(settings, key="--data") as rewarder:
        for name, rows in data.items():
            made = (grade_kind(rewarder, rows, kind, f"{name}, {kind}") for kind in KINDS)
            results["graded"][name] = [one for one in made if one]
    results["speed"] = {name: measure(rows, flags["workers"]) for name, rows in data.items()}
    write_atomic(Path(flags["output"]) / "results.json", json.dumps(results, indent=2) + "\n")
    show(results)


def show(results: Mapping) -> None:
    graded = {name: {one["kind"]: one for one in made} for name, made in results["graded"].items()}
    passed = lambda one: f"{one['correct']} of {one['n']}" if one else ""  # noqa: E731
    lines = [[name, *(passed(made.get(kind)) for kind in KINDS)] for name, made in graded.items()]
    table("programs that pass", ["", *KINDS], lines)
    odd = [[name, kind, ", ".join(one["odd"][:8])] for name, of in graded.items() for kind, one in of.items()]
    table("not as expected", ["", "", "problems"], [line for line in odd if line[-1]])
    lines = [
        [name, f"{one['programs_a_second']:.0f}", f"{one['cpu_ms']:.1f}"] for name, one in results["speed"].items()
    ]
    workers = next(iter(results["speed"].values()))["workers"]
    columns = ["", "programs a second", "CPU ms of a program, all its processes"]
    table(f"{workers} workers", columns, lines)


if __name__ == "__main__":
    run_command(main)
