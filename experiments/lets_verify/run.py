"""Let's Verify Step by Step on the laptop, on several seeds: best of N by a process reward model, by an outcome reward
model, votes that their scores weigh, and the majority.

    python -m experiments.lets_verify.run --seeds=3 --output=runs/lets_verify

Of each seed: a policy learns worked solutions, its samples are labelled by exact rules, step by step and by their
answer, and a model of either kind learns from the same samples. Then both choose among samples of held-out problems.
Each part is a folder; the same command again goes on where it stopped. Writes OUTPUT/results.json,
OUTPUT/lets_verify.png and prints the tables.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.commands import call
from experiments.pipelines import over_seeds, train
from rl_reason.errors import UsageError, run_command
from rl_reason.runtime.curves import COLORS
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.progress import table
from rl_reason.runtime.workdir import Workdir, write_atomic

FLAGS: Spec = {
    "seeds": (int, 3, "how many are run"),
    "first_seed": (int, 1, "the first of them; the settings were chosen on seed 0"),
    "problems": (int, 150, "held-out ones"),
    "output": (str, "runs/lets_verify", "a folder for each seed, results.json and lets_verify.png"),
    "draw": (bool, False, "run nothing; read the runs that are there"),
}
SAMPLES = 64
SIZES = (1, 2, 4, 8, 16, 32, 64)
"""N, of those samples."""
DATA = "harder_word_problems"
LENGTHS = {"data.max_prompt_length": "140", "sampling.max_length": "120"}
POLICY = LENGTHS | {
    "data.name": DATA,
    "data.row_length": "260",
    "data.solutions": "((0, (('worked', 0.75), ('bare', 0.25))),)",
    "steps": "80",
    "algorithm.batch_size": "16",
    "algorithm.reduction": "token_mean",
    "evaluation.every": "0",
    "evaluation.name": DATA,
    "evaluation.problems": "150",
}
"""As a stage of `configs/wizardmath.py:tiny`: a quarter of the texts tells the answer only, so its samples do, too."""
JUDGE = LENGTHS | {
    "data.name": DATA,
    "data.problems": "3200",
    "sampling.temperature": "1.0",
    "steps": "400",
    "algorithm.learning_rate": "1e-3",
    "evaluation.every": "0",
    "evaluation.name": DATA,
}
"""Both learn from 8 samples of each of the same problems, by the same policy."""
SCORES = {
    "product": ("process", "process reward model, product of steps"),
    "minimum": ("process", "process reward model, worst step"),
    "outcome": ("outcome", "outcome reward model"),
}
"""What chooses → the model, and what it is called."""
CONFIGS = {"process": "configs/prm_math.py:tiny", "outcome": "configs/orm_math.py:tiny"}
VOTES, MAJORITY, ANY = "votes", "majority", "any of N right"
COMPARED = (
    ("product", MAJORITY), ("product", "outcome"), ("outcome", MAJORITY), ("product", "minimum"), (VOTES, MAJORITY),
)  # fmt: skip
"""The first is ahead of the second in the paper."""
LABELS = {name: label for name, (_, label) in SCORES.items()} | {
    VOTES: "votes, weighed by the product of steps",
    MAJORITY: MAJORITY,
}


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    for name in ("seeds", "problems"):
        if flags[name] < 1:
            raise UsageError(f"--{name}={flags[name]}: expected at least 1")
    output = Path(flags["output"])
    results = []
    for seed in range(flags["first_seed"], flags["first_seed"] + flags["seeds"]):
        folder = output / f"seed{seed}"
        if not flags["draw"]:
            run_seed(folder, seed, flags["problems"])
        results.append(read(folder))
    write_atomic(output / "results.json", json.dumps(results, indent=1) + "\n")
    draw(results, output / "lets_verify.png")
    show(results)


def run_seed(folder: Path, seed: int, problems: int) -> None:
    """Makes what the folder lacks."""
    train("configs/sft_math.py:tiny", seed, folder / "policy", _flags(POLICY))
    policy = folder / "policy" / "export"
    for kind, config in CONFIGS.items():
        train(config, seed, folder / kind, _flags(JUDGE | {"model.path": str(policy)}))
    for name in SCORES:
        command = ["rl_reason.evaluate", f"--model={policy}", f"--data={DATA}"]
        command += [f"--problems={problems}", f"--samples={SAMPLES}", "--temperature=1", f"--seed={seed}"]
        command += ["--template=question", "--grader=marked_number", "--max_tokens=120", "--max_prompt_tokens=140"]
        command += [f"--{flag}={value}" for flag, value in judging(folder, name).items()]
        command.append(f"--output={chosen(folder, name)}")
        call(command, chosen(folder, name))


def judging(folder: Path, name: str) -> dict[str, str]:
    """Flags of an evaluation in which a score chooses, by the model that lies in the seed's folder."""
    kind, _ = SCORES[name]
    return {"reward_model": str(folder / kind / "export")} | ({"aggregation": name} if kind == "process" else {})


def chosen(folder: Path, name: str) -> Path:
    return folder / f"chosen_by_{name}"


def _flags(changes: Mapping[str, str]) -> list[str]:
    return [f"--config.{key}={value}" for key, value in changes.items()]


def read(folder: Path) -> dict:
    """What a seed has shown: share right for each way to choose and each N, and how well the models judge."""
    found = {name: json.loads((chosen(folder, name) / "results.json").read_text()) for name in SCORES}
    curves = {name: [one[f"bon@{size}" if size > 1 else "pass@1"] for size in SIZES] for name, one in found.items()}
    for name, measure in ((VOTES, "weighted_maj"), (MAJORITY, "maj"), (ANY, "pass")):
        one = found["product"]
        curves[name] = [one[f"{measure}@{size}" if size > 1 else "pass@1"] for size in SIZES]
    judged = {kind: list(read_jsonl(Workdir(folder / kind).eval))[-1] for kind in CONFIGS}
    return {"sizes": SIZES, "curves": curves, "judged": judged}


def show(results: Sequence[Mapping]) -> None:
    rows = []
    for name in (*LABELS, ANY):
        cells = [over_seeds([one["curves"][name][i] for one in results], 100) for i in range(len(SIZES))]
        rows.append([LABELS.get(name, name), *cells])
    title = f"right answers, %, mean of {len(results)} seeds ± 95% interval"
    table(title, ["chosen by", *(f"N = {size}" for size in SIZES)], rows)
    rows = [
        [f"{LABELS[name]} − {LABELS[other]}", *(over_seeds(differences(results, name, other, n), 100) for n in SIZES)]
        for name, other in COMPARED
    ]
    table("points, paired by seed", ["", *(f"N = {size}" for size in SIZES)], rows)


def differences(results: Sequence[Mapping], name: str, other: str, size: int) -> list[float]:
    place = SIZES.index(size)
    return [one["curves"][name][place] - one["curves"][other][place] for one in results]


def draw(results: Sequence[Mapping], file: Path) -> None:
    """Share right against N, as figure 3 of the paper: each seed, and the mean."""
    figure = Figure(figsize=(7.5, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, color in (*zip(LABELS, COLORS, strict=False), (ANY, "#999999")):
        values = 100 * np.array([one["curves"][name] for one in results])
        style = ":" if name == ANY else "-"
        axes.plot(SIZES, values.T, color=color, alpha=0.25, linewidth=0.8, linestyle=style)
        axes.plot(SIZES, values.mean(axis=0), "o", color=color, linestyle=style, label=LABELS.get(name, name))
    axes.set(title="Held-out problems", xlabel="N, samples of a problem", ylabel="right answers, %", xscale="log")
    axes.set_xticks(SIZES, [str(size) for size in SIZES])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    figure.savefig(file, dpi=130)


if __name__ == "__main__":
    run_command(main)
