"""Runs the same GRPO steps on rl_reason, TRL and Tunix in turns, and rewrites benchmarks/RESULTS.md.

    python -m benchmarks.peers --workload=tiny,small --lengths=fixed,longtail --rounds=3 --systems=rl_reason,trl,tunix

Each run is a process of its own and leaves a file in benchmarks/results; those of an earlier invocation with the same
machine, workload, lengths and system are replaced. A system that fails becomes a row which says why.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import machine, processes, workloads
from benchmarks.peers import environments, results
from rl_reason.errors import RunError, UsageError, run_command
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.progress import Progress
from rl_reason.runtime.workdir import write_atomic

HERE = Path(__file__).parents[1]
RESULTS, PAGE = HERE / "results", HERE / "RESULTS.md"

FLAGS: Spec = {
    "workload": (str, "tiny", f"some of {', '.join(workloads.WORKLOADS)}, joined by commas"),
    "lengths": (str, "fixed", f"some of {', '.join(workloads.LENGTHS)}"),
    "systems": (str, ",".join(results.SYSTEMS), f"some of {', '.join(results.SYSTEMS)}"),
    "rounds": (int, 1, "runs of each system"),
    "steps": (int, 4, "of a run, the first one counted, which compiles"),
    "memory": (float, 0.9, "share of the machine's memory above which a run is stopped"),
    "timeout": (float, 120.0, "minutes after which a run is stopped"),
    "table": (bool, False, "run nothing; write RESULTS.md again from the files"),
}
SPLITS: dict[str, list[str]] = {
    "tiny": ["--micro=8"],
    "small": ["--micro=8"],
    "0.5b": ["--micro=4"],
    "1.5b": ["--micro=16", "--remat"],
}
"""Further flags of the peers for a workload. On tiny and small, micro-batches of 8 completions are as fast as the whole
batch of 32 at once in TRL, faster in Tunix, and take half the memory or less."""


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    names = _chosen(flags, "workload", workloads.WORKLOADS)
    lengths = _chosen(flags, "lengths", workloads.LENGTHS)
    systems = _chosen(flags, "systems", results.SYSTEMS)
    if not flags["table"]:
        turns = [
            {"workload": name, "lengths": kind, "round": turn, "system": system}
            for name in names
            for kind in lengths
            for turn in range(1, flags["rounds"] + 1)
            for system in systems
        ]
        run_all(turns, flags)
    write_page()


def _chosen(flags: dict, key: str, known: Collection[str]) -> list[str]:
    """The names of a flag; raises `UsageError` for one that is not known."""
    names = [name for name in flags[key].split(",") if name]
    for name in names:
        if name not in known:
            raise UsageError(f"--{key}={name}: expected some of {', '.join(known)}")
    return names


def run_all(turns: Sequence[dict], flags: dict) -> None:
    """Runs one after the other; what each leaves is written at once, so that an interrupted invocation counts."""
    here = machine.describe()
    RESULTS.mkdir(exist_ok=True)
    with Progress(len(turns), title="benchmark") as progress:
        for done, turn in enumerate(turns):
            about = {**turn, "machine": here, "date": datetime.now(UTC).strftime("%Y-%m-%d")}
            name = " ".join(str(turn[key]) for key in ("workload", "lengths", "system"))
            progress.note(f"{name}, round {turn['round']}")
            if turn["round"] == 1:
                _forget(about)
            try:
                made = run(turn, flags, progress)
            except RunError as error:
                progress.note(f"{name} failed: {error}")
                made = {"failed": str(error)}
            write_atomic(results.run_file(RESULTS, about), json.dumps({**made, **about}, indent=2) + "\n")
            write_page()
            progress.update(done + 1)


def _forget(about: dict) -> None:
    """Removes the files of all rounds of a machine, workload, lengths and system."""
    for file in RESULTS.glob(results.run_file(RESULTS, {**about, "round": "*"}).name):
        file.unlink()


def run(turn: dict, flags: dict, progress: Progress) -> dict:
    """One run of a system in a process of its own; what it wrote.

    Raises:
        RunError: it failed; says why.
    """
    system, workload = turn["system"], workloads.WORKLOADS[turn["workload"]]
    given = [f"--workload={workload.name}", f"--lengths={turn['lengths']}", f"--steps={flags['steps']}"]
    if system == results.OURS:
        command = [sys.executable, "-m", "benchmarks.step", *given]
    else:
        folder = environments.cache() / "models" / f"{workload.name}-{turn['lengths']}"
        workloads.make_folder(workload, turn["lengths"], folder)
        script = ["-m", f"benchmarks.peers.{system}_step", f"--model={folder}"]
        command = [str(environments.python_of(system)), *script, *given, *SPLITS[workload.name]]
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "run.json"
        processes.call([*command, f"--json={file}"], progress, memory=flags["memory"], minutes=flags["timeout"])
        if not file.is_file():
            raise RunError("it ended without a result")
        return json.loads(file.read_text(encoding="utf-8"))


def write_page() -> None:
    write_atomic(PAGE, results.page(results.read_runs(RESULTS)))


if __name__ == "__main__":
    run_command(main)
