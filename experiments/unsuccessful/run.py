"""What DeepSeek-R1 says did not work: a learned reward alone under long RL, and training data made by tree search.

    python -m experiments.unsuccessful.run --seeds=3 --output=runs/unsuccessful

Each run is a command of its own in a folder of its own; the same command again goes on where it stopped. Writes
OUTPUT/results.json, OUTPUT/hacking.png, OUTPUT/rounds.png and prints the tables.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from experiments.unsuccessful import figures, hacking, search_data
from rl_reason.errors import UsageError, run_command
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.progress import Progress
from rl_reason.runtime.workdir import write_atomic

PARTS = ("hacking", "search")
FLAGS: Spec = {
    "seeds": (int, 3, "seeds 0, 1, … are run"),
    "parts": (str, ",".join(PARTS), "which ones"),
    "steps": (int, 100, "of reinforcement"),
    "rounds": (int, 3, "of search and fine-tuning"),
    "questions": (int, 300, "of a round"),
    "output": (str, "runs/unsuccessful", "a folder for each seed, results.json and the pictures"),
    "draw": (bool, False, "run nothing; read the runs that are there"),
}


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    parts, output, seeds = flags["parts"].split(","), Path(flags["output"]), range(flags["seeds"])
    for name, least in (("seeds", 1), ("steps", hacking.EVALUATIONS), ("rounds", 1), ("questions", 1)):
        if flags[name] < least:
            raise UsageError(f"--{name}={flags[name]}: expected at least {least}")
    if flags["steps"] % hacking.EVALUATIONS:
        raise UsageError(f"--steps={flags['steps']}: expected a multiple of {hacking.EVALUATIONS}, the evaluations")
    for part in parts:
        if part not in PARTS:
            raise UsageError(f"--parts={part}: expected some of {','.join(PARTS)}")
    output.mkdir(parents=True, exist_ok=True)
    _check_same(output / "settings.json", {name: flags[name] for name in ("steps", "questions")})
    if not flags["draw"]:
        # Small models compile longer than they run; what one command has compiled the next ones find there.
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(output.resolve() / "compiled")
        os.environ |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        os.environ |= {"JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
        each = ("hacking" in parts) * len(hacking.ARMS) + ("search" in parts) * flags["rounds"]
        with Progress(each * len(seeds), title="runs and rounds") as progress:
            for seed in seeds:
                for name in hacking.ARMS if "hacking" in parts else ():
                    progress.note(f"seed {seed}: {hacking.ARMS[name].label}")
                    hacking.run(output / f"seed{seed}" / "hacking", name, seed, flags["steps"])
                    progress.advance(1)
                for number in range(1, flags["rounds"] + 1) if "search" in parts else ():
                    progress.note(f"seed {seed}: round {number}")
                    search_data.run_round(output / f"seed{seed}" / "search", seed, number, flags["questions"])
                    progress.advance(1)
    results: dict[str, dict] = {}
    if "hacking" in parts:
        results["hacking"] = {
            name: [hacking.read(output / f"seed{seed}" / "hacking", name) for seed in seeds] for name in hacking.ARMS
        }
        figures.draw_hacking(results["hacking"], output / "hacking.png")
    if "search" in parts:
        of_seeds = [search_data.read(output / f"seed{seed}" / "search", flags["rounds"]) for seed in seeds]
        results["search"] = {arm: [made[arm] for made in of_seeds] for arm in search_data.ARMS}
        figures.draw_rounds(results["search"], output / "rounds.png")
    write_atomic(output / "results.json", json.dumps(results, indent=1) + "\n")
    figures.show(results)


def _check_same(file: Path, asked: dict[str, int]) -> None:
    """Runs of other sizes cannot be put together."""
    if file.exists():
        there = json.loads(file.read_text())
        for name, value in asked.items():
            if there[name] != value:
                raise UsageError(f"--{name}={value}: {file.parent} holds runs made with {there[name]}; expected that")
    write_atomic(file, json.dumps(asked) + "\n")


if __name__ == "__main__":
    run_command(main)
