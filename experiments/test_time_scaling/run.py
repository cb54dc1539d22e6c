"""Accuracy against tokens spent, for each way to spend them; and what RL does to maj@K and pass@K.

    python -m experiments.test_time_scaling.run --seeds=3 --output=runs/test_time_scaling

The shipped model is searched with. Of each seed: a process reward model learns to judge its steps, GRPO trains it, and
both are put to use on problems of their own. Each part is a file; the same command again goes on with the parts that
are missing. Writes OUTPUT/results.json, OUTPUT/scaling.png, OUTPUT/before_after.png and prints the tables.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import jax

from experiments.commands import call
from experiments.test_time_scaling import figures, parts
from experiments.test_time_scaling.estimates import summarize
from rl_reason import settings
from rl_reason.errors import RunError, UsageError, run_command
from rl_reason.rewards.combination import Rewarder
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.progress import Progress
from rl_reason.runtime.workdir import write_atomic
from rl_reason.sampling.beam import Beam
from rl_reason.sampling.search import Search
from rl_reason.sampling.tree import Tree

FLAGS: Spec = {
    "seeds": (int, 3, "seeds 0, 1, … are run"),
    "problems": (int, 50, "of each seed, which are others for each"),
    "samples": (int, 64, "completions of each problem"),
    "output": (str, "runs/test_time_scaling", "a folder for each seed, results.json and the pictures"),
    "draw": (bool, False, "run nothing; read the parts that are there"),
}
BASE = "checkpoints/tiny"
TRAINED, LONGER = "word_problems", "experiments.test_time_scaling.problems:five_events"
GRPO = {"evaluation.samples": "0", "evaluation.every": "0"}
"""As in `make demo`, but not evaluated on the way."""
PRM = {"data.problems": "500", "steps": "80", "evaluation.samples": "0", "evaluation.every": "0"}
"""A third of the variant `tiny`, whose samples it learns from are those of the shipped model."""
DATA = {"trained": TRAINED, "longer": LONGER}
SEARCHES: dict[str, Callable[[], Search]] = {
    **{f"beam-{4 * width}": Beam(width, 4) for width in (1, 2, 4, 8)},
    # A node is expanded once, so a tree of few ways is soon searched through.
    **{f"tree-{ways}": Tree(32, ways) for ways in (4, 8, 16, 32)},
}
"""Named by how often the first step is drawn."""
PARTS = (*(f"{data}-{when}" for data in DATA for when in ("before", "after")), *SEARCHES)
"""Samples of the policy before and after RL, and searches by the one before."""


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    for name in ("seeds", "problems", "samples"):
        if flags[name] < 1:
            raise UsageError(f"--{name}={flags[name]}: expected at least 1")
    output = Path(flags["output"])
    output.mkdir(parents=True, exist_ok=True)
    check_same(output / "settings.json", {name: flags[name] for name in ("problems", "samples")})
    keep_compiled(output)
    if not flags["draw"]:
        # A training counts as much as a part.
        with Progress((2 + len(PARTS)) * flags["problems"] * flags["seeds"], title="problems") as progress:
            for seed in range(flags["seeds"]):
                run_seed(output / f"seed{seed}", seed, flags["problems"], flags["samples"], progress)
    seeds = [
        {name: read_rows(output / f"seed{seed}" / f"{name}.jsonl") for name in PARTS} for seed in range(flags["seeds"])
    ]
    results = summarize(seeds)
    write_atomic(output / "results.json", json.dumps(results, indent=1) + "\n")
    figures.draw_scaling(results["scaling"], output / "scaling.png")
    figures.draw_before_after(results["before_after"], output / "before_after.png")
    figures.show(results)


def run_seed(folder: Path, seed: int, problems: int, samples: int, progress: Progress) -> None:
    """Makes what the folder lacks."""
    folder.mkdir(exist_ok=True)
    after, judge = folder / "after", folder / "prm" / "export"
    if not after.exists():
        progress.note(f"seed {seed}: GRPO, {folder / 'grpo.log'}")
        _train("grpo", folder / "grpo", {**GRPO, "seed": str(seed)})
        command(after, "export", f"--workdir={folder / 'grpo'}", f"--output={after}")
    progress.advance(problems)
    if not judge.exists():  # It is the last thing that the run writes.
        progress.note(f"seed {seed}: process reward model, {folder / 'prm.log'}")
        _train("prm", folder / "prm", {**PRM, "seed": str(seed)})
    progress.advance(problems)
    reward = settings.Reward(names=("number",), weights=(1.0,), model=str(judge))
    missing = [name for name in PARTS if not (folder / f"{name}.jsonl").exists()]
    progress.advance((len(PARTS) - len(missing)) * problems)
    with Rewarder(reward) as rewarder:
        load = functools.cache(
            lambda name: parts.load(
                DATA[name.split("-")[0]], BASE if name.endswith("before") else str(after), seed * problems, problems
            )
        )
        search = functools.cache(lambda: parts.make_search(load("trained-before"), reward, seed))
        for name in missing:
            progress.note(f"seed {seed}: {name}")
            if name in SEARCHES:
                rows = parts.search(load("trained-before"), SEARCHES[name], *search(), rewarder)
            else:
                judged = reward if name == "trained-before" else None
                rows = parts.sample(load(name), judged, rewarder, samples, seed)
            write_atomic(folder / f"{name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
            progress.advance(problems)


def keep_compiled(output: Path) -> None:
    """Small models compile longer than they run; what one seed has compiled the next ones find there."""
    cache = {"JAX_COMPILATION_CACHE_DIR": str(output.resolve() / "compiled")}
    cache |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
    os.environ.update(cache)
    for name, value in cache.items():
        jax.config.update(name.lower(), value if "DIR" in name else int(value))


def check_same(file: Path, asked: dict[str, int]) -> None:
    """Parts of other sizes cannot be put together."""
    if file.exists():
        there = json.loads(file.read_text())
        for name, value in asked.items():
            if there[name] != value:
                raise UsageError(f"--{name}={value}: {file.parent} holds parts made with {there[name]}; expected that")
    write_atomic(file, json.dumps(asked) + "\n")


def _train(config: str, folder: Path, changes: dict[str, str]) -> None:
    flags = [f"--config.{key}={value}" for key, value in changes.items()]
    command(folder, "train", f"--config=configs/{config}_math.py:tiny", f"--workdir={folder}", *flags)


def command(folder: Path, name: str, *flags: str) -> None:
    """Runs one of the project's commands, which writes the folder; what it says goes to a file beside it."""
    call([f"rl_reason.{name}", *flags], folder, folder.with_suffix(".log"))


def read_rows(file: Path) -> list[dict]:
    if not file.exists():
        raise RunError(f"{file}: is missing; run this command without --draw")
    return list(read_jsonl(file))


if __name__ == "__main__":
    run_command(main)
