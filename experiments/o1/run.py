"""Accuracy against the compute of training, and against the tokens of an answer.

    python -m experiments.o1.run --seeds=3 --output=runs/o1

Of each seed `configs/o1_math.py:tiny` trains a process reward model and a policy, which is then put to use as it was at
three points of its training, on problems of the seed's own. Each part is a file; the same command again goes on with
what is missing. Writes OUTPUT/results.json, OUTPUT/o1.png and prints the tables.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from experiments.o1 import compute, figure
from experiments.test_time_scaling import parts
from experiments.test_time_scaling.estimates import measure, told
from experiments.test_time_scaling.run import check_same, command, keep_compiled, read_rows
from rl_reason import settings
from rl_reason.errors import UsageError, run_command
from rl_reason.rewards.combination import Rewarder
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.progress import Progress
from rl_reason.runtime.workdir import Workdir, write_atomic
from rl_reason.sampling.beam import Beam
from rl_reason.sampling.search import Search
from rl_reason.sampling.tree import Tree

FLAGS: Spec = {
    "seeds": (int, 3, "seeds 0, 1, … are run"),
    "problems": (int, 50, "of each seed at test time, which are others for each"),
    "samples": (int, 64, "completions of each problem"),
    "output": (str, "runs/o1", "a folder for each seed, results.json and o1.png"),
    "draw": (bool, False, "run nothing; read the parts that are there"),
}
BASE = "checkpoints/tiny"
STEPS = (0, 10, 25)
"""Of the policy: before, in the middle and at the end of its training."""
SEARCHES: dict[str, Callable[[], Search]] = {
    **{f"beam-{4 * width}": Beam(width, 4) for width in (1, 4)},
    **{f"tree-{ways}": Tree(32, ways) for ways in (4, 16)},
}
"""Named by how often the first step is drawn."""
PARTS = ("samples", *SEARCHES)


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    for name in ("seeds", "problems", "samples"):
        if flags[name] < 1:
            raise UsageError(f"--{name}={flags[name]}: expected at least 1")
    output = Path(flags["output"])
    output.mkdir(parents=True, exist_ok=True)
    check_same(output / "settings.json", {name: flags[name] for name in ("problems", "samples")})
    keep_compiled(output)
    folders = [output / f"seed{seed}" for seed in range(flags["seeds"])]
    if not flags["draw"]:
        # The training counts as much as the uses of one policy.
        with Progress((1 + len(STEPS)) * len(PARTS) * len(folders), title="parts") as progress:
            for seed, folder in enumerate(folders):
                run_seed(folder, seed, flags["problems"], flags["samples"], progress)
    results = summarize(folders)
    write_atomic(output / "results.json", json.dumps(results, indent=1) + "\n")
    figure.draw(results, output / "o1.png")
    figure.show(results)


def run_seed(folder: Path, seed: int, problems: int, samples: int, progress: Progress) -> None:
    """Makes what the folder lacks."""
    folder.mkdir(exist_ok=True)
    run = folder / "run"
    progress.note(f"seed {seed}: training, {run.with_suffix('.log')}")
    flags = [f"--config.seed={seed}", *(f"--config.stages.policy.checkpoint.{key}" for key in ("every=5", "keep=0"))]
    command(run, "train", "--config=configs/o1_math.py:tiny", f"--workdir={run}", *flags)
    progress.advance(len(PARTS))
    reward = settings.Reward(names=("number",), weights=(1.0,), model=str(run / "judge" / "export"))
    with Rewarder(reward) as rewarder:
        for step in STEPS:
            missing = [name for name in PARTS if not part_file(folder, step, name).exists()]
            progress.advance(len(PARTS) - len(missing))
            if missing:
                policy = parts.load("word_problems", str(_export(folder, step)), seed * problems, problems)
                search = functools.cache(functools.partial(parts.make_search, policy, reward, seed))
            for name in missing:
                progress.note(f"seed {seed}: policy of step {step}, {name}")
                if name in SEARCHES:
                    rows = parts.search(policy, SEARCHES[name], *search(), rewarder)
                else:
                    rows = parts.sample(policy, reward, rewarder, samples, seed)
                write_atomic(part_file(folder, step, name), "".join(json.dumps(row) + "\n" for row in rows))
                progress.advance(1)


def part_file(folder: Path, step: int, name: str) -> Path:
    return folder / f"step{step}-{name}.jsonl"


def _export(folder: Path, step: int) -> Path:
    """The policy of a step, as a model's folder."""
    if not step:
        return Path(BASE)
    made = folder / f"policy{step}"
    if not made.exists():
        command(made, "export", f"--workdir={folder / 'run' / 'policy'}", f"--output={made}", f"--step={step}")
    return made


def summarize(folders: Sequence[Path]) -> dict:
    """What is drawn and told.

    Returns:
        `training`: of each evaluation its step, and by seed the TFLOP until then, `total` and of the `policy` alone,
        `pass@1` and `maj@8`; `test_time`: of each of `STEPS` the points of each method.
    """
    runs = [folder / "run" for folder in folders]
    judges = [compute.of_judge(run / "judge") for run in runs]
    of_steps = [compute.of_steps(run / "policy") for run in runs]
    training = []
    for records in zip(*(read_jsonl(Workdir(run / "policy").eval) for run in runs), strict=True):
        step = records[0]["step"]
        policies = [sum(flops for at, flops in one.items() if at <= step) for one in of_steps]
        training.append(
            {
                "step": step,
                "total": [(a + b) / 1e12 for a, b in zip(policies, judges, strict=True)],
                "policy": [a / 1e12 for a in policies],
            }
            | {name: [record[name] for record in records] for name in ("pass@1", "maj@8")}
        )
    seeds = len(folders)
    test_time = {}
    for step in STEPS:
        rows = [{name: read_rows(part_file(folder, step, name)) for name in PARTS} for folder in folders]
        points = measure(rows, "samples")
        test_time[str(step)] = {name: [told(point, seeds) for point in made] for name, made in points.items()}
    return {"seeds": seeds, "training": training, "test_time": test_time}


if __name__ == "__main__":
    run_command(main)
