"""AlphaGeometry on the laptop, on several seeds: what a proposer of auxiliary constructions solves, before and after
reinforcement by the engine's verdict.

    python -m experiments.alphageometry.run --seeds=3 --output=runs/alphageometry

Each seed is the pipeline `configs/alphageometry.py:tiny` in a folder of its own; then `rl_reason.prove` searches for
proofs of its held-out problems, which the engine alone solves none of, with the model of either stage and with beams of
several widths. The same command again goes on where it stopped. Writes OUTPUT/results.json, OUTPUT/beams.png and prints
the table.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.commands import call
from experiments.pipelines import over_seeds, train
from rl_reason.errors import run_command
from rl_reason.recipes.synthesis import HELD_OUT, PROBLEMS, REINFORCEMENT
from rl_reason.rewards.estimators import wilson_interval
from rl_reason.runtime.curves import COLORS
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.progress import table
from rl_reason.runtime.workdir import Workdir, write_atomic

FLAGS: Spec = {
    "seeds": (int, 3, "how many are run"),
    "first_seed": (int, 1, "the first of them; the settings were chosen on seed 0"),
    "output": (str, "runs/alphageometry", "a folder for each seed, results.json and beams.png"),
    "draw": (bool, False, "run nothing; read the runs that are there"),
}
CONFIG = "configs/alphageometry.py:tiny"
STAGES = {"proposer": "trained on synthetic problems", "policy": "… and reinforced by the engine"}
BEAMS = (1, 8, 32)
MADE = {
    "figures": "figures that could be drawn",
    "conclusions": "true in numbers",
    "questions": "of these not deduced, and no chance",
    "different": "different problems",
    "premises": "their different premises",
    "problems": "… that are taught",
    "reinforcement": "… left to reinforcement",
    "held out": "… held out",
}
"""Counts of `synthesis.json`, and that of all problems."""
SEARCH = ("--depth=3", "--samples=32", "--time_limit=20")


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    output = Path(flags["output"])
    results = []
    for seed in range(flags["first_seed"], flags["first_seed"] + flags["seeds"]):
        folder = output / f"seed{seed}"
        if not flags["draw"]:
            train(CONFIG, seed, folder)
            for stage in STAGES:
                for beam in BEAMS:
                    prove(folder, stage, beam, seed)
        results.append(read(folder))
    write_atomic(output / "results.json", json.dumps(results, indent=1) + "\n")
    draw(results, output / "beams.png")
    show(results, flags["first_seed"])


def prove(folder: Path, stage: str, beam: int, seed: int) -> None:
    command = ["rl_reason.prove", f"--model={folder / stage / 'export'}", *SEARCH]
    command += [f"--data={folder / 'synthesis' / 'held_out.jsonl'}", f"--beam={beam}", f"--seed={seed}"]
    made = proofs(folder, stage, beam)
    call([*command, f"--output={made}"], made)


def proofs(folder: Path, stage: str, beam: int) -> Path:
    return folder / f"proofs_{stage}_{beam}"


def read(folder: Path) -> dict:
    """What a seed has shown: of each stage pass@1 and pass@8, and how many each beam has solved of how many."""
    stages = {}
    for stage in STAGES:
        last = list(read_jsonl(Workdir(folder / stage).eval))[-1]
        found = [json.loads((proofs(folder, stage, beam) / "results.json").read_text()) for beam in BEAMS]
        solved = {str(beam): one["solved"][-1]["solved"] for beam, one in zip(BEAMS, found, strict=True)}
        sampled = {key: last[key] for key in ("pass@1", "pass@1_ci95", "pass@8", "pass@8_ci95")}
        stages[stage] = {
            "sampled": sampled,
            "alone": found[0]["solved"][0]["solved"],
            "solved": solved,
            "n": found[0]["n"],
        }
    made = json.loads((folder / "synthesis" / "synthesis.json").read_text()) | kinds(folder / "synthesis")
    seconds = {stage: one["seconds"] for stage, one in json.loads((folder / "stages.json").read_text()).items()}
    return {"stages": stages, "synthesis": made, "seconds": sum(seconds.values()), "stage_seconds": seconds}


def kinds(folder: Path) -> dict[str, dict[str, int]]:
    """Of the problems that were made, each in one writing, how many ask for what, and how many auxiliary clauses they
    have."""
    rows = [row for name in (PROBLEMS, REINFORCEMENT, HELD_OUT) for row in read_jsonl(folder / name)]
    rows = [row for row in rows if "/" not in row["id"]]
    goals = Counter(row["answer"].split()[0] for row in rows)
    auxiliary = Counter(str(row["solution"].count(";") + 1) for row in rows)
    return {"goals": dict(goals.most_common()), "auxiliary": dict(sorted(auxiliary.items()))}


def show(results: Sequence[dict], first_seed: int = 1) -> None:
    made = [one | {"different": sum(one["auxiliary"].values())} for one in (result["synthesis"] for result in results)]
    rows = [[label, *(f"{one[name]:,}" for one in made)] for name, label in MADE.items()]
    rows.append(["… that ask for parallels", *(str(one["goals"].get("para", 0)) for one in made)])
    clauses = [", ".join(f"{count}: {number}" for count, number in one["auxiliary"].items()) for one in made]
    rows.append(["… by the number of auxiliary clauses", *clauses])
    table("problems that were made", ["", *(f"seed {first_seed + place}" for place in range(len(made)))], rows)
    rows = []
    for stage, label in STAGES.items():
        of_seeds = [result["stages"][stage] for result in results]
        sampled = [[one["sampled"][key] for one in of_seeds] for key in ("pass@1", "pass@8")]
        cells = [f"{over_seeds(of, 100)} ({', '.join(f'{100 * one:.1f}' for one in of)})" for of in sampled]
        rows.append([label, _pooled(of_seeds, "alone"), *cells, *(_pooled(of_seeds, str(beam)) for beam in BEAMS)])
    heads = ["proposer", "the engine alone", "pass@1 (by seed)", "pass@8 (by seed)"]
    heads += [f"beam {beam}" for beam in BEAMS]
    table(f"held-out problems solved, %, {len(results)} seeds", heads, rows)


def _pooled(of_seeds: Sequence[dict], key: str) -> str:
    """Share of the problems of all seeds, which are others for each, with Wilson's interval."""
    solved = sum(one["alone"] if key == "alone" else one["solved"][key] for one in of_seeds)
    n = sum(one["n"] for one in of_seeds)
    low, high = wilson_interval(solved, n)
    return f"{100 * solved / n:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def draw(results: Sequence[dict], file: Path) -> None:
    """Share solved against the width of the beam: the seeds, and their mean."""
    figure = Figure(figsize=(6.5, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for (stage, label), color in zip(STAGES.items(), COLORS, strict=False):
        of_seeds = [result["stages"][stage] for result in results]
        shares = np.array([[100 * one["solved"][str(beam)] / one["n"] for beam in BEAMS] for one in of_seeds])
        axes.plot(BEAMS, shares.T, color=color, alpha=0.3, linewidth=1)
        axes.plot(BEAMS, shares.mean(axis=0), "o-", color=color, linewidth=2, label=label)
    axes.axhline(0, color="black", linewidth=1, linestyle=":", label="the engine alone")
    axes.set(title="Held-out problems", xlabel="beam", ylabel="solved, %", ylim=(-2, 102), xscale="log")
    axes.set_xticks(BEAMS, [str(beam) for beam in BEAMS])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    figure.savefig(file, dpi=130)


if __name__ == "__main__":
    run_command(main)
