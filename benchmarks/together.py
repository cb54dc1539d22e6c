"""`python -m benchmarks.together [--runs=4] [--steps=8] [--config.key=value …] [--json=FILE]`: times so many runs of a
config on as many seeds, one after another in processes of their own and computed together in one (`experiments.sweep`).

Beside the seconds of the clock stand those of the processor, which say more where something else runs meanwhile, and
the seconds of a settled step of all runs, without what starting and compiling take. No compiled program of earlier
commands is used.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks import machine
from rl_reason.errors import RunError, UsageError, run_command
from rl_reason.runtime.flags import Spec, parse_flags, split_flags
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.progress import Progress, table
from rl_reason.runtime.workdir import Workdir, write_atomic

ROOT = Path(__file__).parents[1]
SETTLED = 4
"""The first step whose time counts: before, functions are compiled."""
WAYS = {"one after another": False, "together": True}
FLAGS: Spec = {
    "config": (str, "configs/grpo_math.py:tiny", "the runs'; --config.KEY=VALUE changes one of its keys"),
    "runs": (int, 4, "seeds 0, 1, …"),
    "steps": (int, 8, "of a run"),
    "json": (str, "", "file for the same figures as JSON"),
}


def main() -> None:
    pairs = split_flags(sys.argv[1:], ("help", "h"))
    written = [f"--{name}" if text is None else f"--{name}={text}" for name, text in pairs]
    common = [flag for flag in written if flag.startswith("--config.")]
    flags = parse_flags([flag for flag in written if flag not in common], FLAGS, description=__doc__ or "")
    for key, least in (("runs", 2), ("steps", SETTLED)):
        if flags[key] < least:
            raise UsageError(f"--{key}={flags[key]}: expected at least {least}")
    made = {"config": flags["config"], "changes": common, "runs": flags["runs"], "steps": flags["steps"]}
    made |= {"machine": machine.describe(gpu=False), "load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as folder, Progress(len(WAYS), title="benchmark") as progress:
        for way, together in WAYS.items():
            made[way] = measure(flags, common, Path(folder) / way, flags["runs"] if together else 1)
            progress.advance(1)
    if flags["json"]:
        write_atomic(Path(flags["json"]), json.dumps(made, indent=2) + "\n")
    show(made)


def measure(flags: dict, common: Sequence[str], output: Path, together: int) -> dict:
    """Seconds of the clock and the processor of all runs, and of a settled step of all of them.

    Raises:
        RunError: the sweep failed; it has said why.
    """
    command = [sys.executable, "-m", "experiments.sweep", f"--config={flags['config']}", *common]
    command += [f"--point=config.steps={flags['steps']}", f"--seeds={flags['runs']}"]
    command += [f"--together={together}", f"--output={output}"]
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    began, before = time.monotonic(), processor_seconds()
    if subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL).returncode:
        raise RunError(f"failed: {' '.join(command[1:])}")
    seconds, of_processor = time.monotonic() - began, processor_seconds() - before
    steps = [
        median(record["time/step_s"] for record in read_jsonl(Workdir(folder).metrics) if record["step"] >= SETTLED)
        for folder in sorted(output.glob("*/seed*"))
    ]
    # Of runs together each one's step is a step of all.
    return {"seconds": seconds, "processor_s": of_processor, "step_s": median(steps) if together > 1 else sum(steps)}


def processor_seconds() -> float:
    """Of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def show(made: dict) -> None:
    alone, together = (made[way] for way in WAYS)
    rows = [
        [label, f"{alone[key]:.1f}", f"{together[key]:.1f}", f"{alone[key] / together[key]:.2f}"]
        for key, label in (
            ("seconds", "seconds, all in all"),
            ("processor_s", "seconds of the processor"),
            ("step_s", f"seconds of a step of all, from step {SETTLED} on"),
        )
    ]
    title = f"{made['runs']} runs of {made['config']}, {made['steps']} steps; load {made['load']:.1f} at the start"
    table(title, ["", *WAYS, "times as fast"], rows)


if __name__ == "__main__":
    run_command(main)
