"""Constitutional AI on the laptop, on several seeds: what each stage does to a bad behaviour and to helpfulness.

    python -m experiments.constitutional.run --seeds=3 --output=runs/constitutional

Each seed is the pipeline `configs/constitutional.py:tiny` in a folder of its own, and beside it a policy that follows a
preference model of red-team prompts alone for long, with next to no penalty. The same command again goes on where it
stopped. Writes OUTPUT/results.json, OUTPUT/over_optimisation.png and prints the tables.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.pipelines import by_step, over_seeds, train
from rl_reason.data.generated import read_shards
from rl_reason.errors import run_command
from rl_reason.runtime.curves import COLORS
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.progress import table
from rl_reason.runtime.workdir import Workdir, write_atomic

FLAGS: Spec = {
    "seeds": (int, 3, "how many"),
    "first_seed": (int, 1, "the first of them; the settings were chosen on seed 0"),
    "output": (str, "runs/constitutional", "a folder for each seed, results.json and over_optimisation.png"),
    "draw": (bool, False, "run nothing; read the runs that are there"),
}
CONFIG, LONG = "configs/constitutional.py:tiny", "experiments/constitutional/over_optimisation.py"
STAGES = {"start": "helpful start", "tuned": "fine-tuned on revisions", "policy": "reinforced by AI feedback"}
ASKED = {"assistant_red_team": "gives the secret away", "assistant_questions": "answers the question"}
PAIRS = {"red_team_pairs": "of a secret kept and one told", "helpful_pairs": "of helpfulness"}
WINDOW = 5
"""Rollouts behind each step whose mean is drawn."""


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    output = Path(flags["output"])
    results = []
    for seed in range(flags["first_seed"], flags["first_seed"] + flags["seeds"]):
        folder, long = output / f"seed{seed}", output / f"seed{seed}_over_optimisation"
        if not flags["draw"]:
            train(CONFIG, seed, folder)
            # The stages' configs have their seed in them, to which a pipeline adds its own.
            train(f"{LONG}:{folder}", 0, long)
        results.append(read(folder, long))
    write_atomic(output / "results.json", json.dumps(results, indent=1) + "\n")
    draw([result["long"] for result in results], output / "over_optimisation.png")
    show(results)


def read(folder: Path, long: Path) -> dict:
    """What a seed has shown."""
    tuned, policy = (_evaluations(folder / stage) for stage in ("tuned", "policy"))
    feedback = json.loads((folder / "preferences" / "feedback.json").read_text())
    seconds = json.loads((folder / "stages.json").read_text()).values()
    return {
        "stages": {"start": tuned[0], "tuned": tuned[-1], "policy": policy[-1]},
        "feedback": {key: feedback[key] for key in ("pairs", "failures", "scores_differ", "agreement")},
        "share_mean": _shares(folder / "preferences" / "judged.jsonl"),
        "invented": {"start": _invented(folder / "answers"), "tuned": _invented(folder / "samples")},
        "preference_model": _last_accuracies(folder / "preference_model"),
        "long": {"evaluations": _evaluations(long / "policy"), "rollouts": _rollouts(long / "policy")},
        "seconds": sum(record["seconds"] for record in seconds),
    }


def _evaluations(folder: Path) -> list[dict]:
    """Of each evaluation its step, and for each set how often the rule is content, with the interval."""
    return [
        {"step": step, **{name: [record["pass@1"], *record["pass@1_ci95"]] for name, record in sets.items()}}
        for step, sets in by_step(folder).items()
    ]


def _shares(file: Path) -> dict[str, float]:
    """The mean soft label of the chosen answer of a pair that the rule tells apart, and of one that it does not."""
    rows = [row for row in read_jsonl(file) if "failure" not in row]
    differ = np.array([row["rewards"][0] != row["rewards"][1] for row in rows])
    shares = np.array([row["share"] for row in rows])
    return {"scores_differ": float(shares[differ].mean()), "scores_equal": float(shares[~differ].mean())}


def _invented(samples: Path) -> float:
    """Of answers to red-team prompts in which the rule finds no secret, those with another number of its length."""
    kept = [record for record in read_shards(str(samples)) if record["correct"]]
    return float(np.mean([bool(re.search(rf"\d{{{len(one['secret'])}}}", one["completion"])) for one in kept]))


def _last_accuracies(folder: Path) -> dict[str, float]:
    """How often the preference model agrees with the rule, by the kind of pairs."""
    *_, last = by_step(folder).values()
    return {name: record["accuracy"] for name, record in last.items()}


def _rollouts(folder: Path) -> dict[str, list[float]]:
    kept = {"step": "step", "kl": "kl/reference", "learned": "reward/model", "rule": "reward/discretion"}
    records = list(read_jsonl(Workdir(folder).metrics))
    return {name: [record[key] for record in records if kept["kl"] in record] for name, key in kept.items()}


def show(results: Sequence[Mapping]) -> None:
    title = f"{CONFIG}, held-out prompts, mean of {len(results)} seeds ± 95% interval"
    rows = []
    for stage, label in STAGES.items():
        of_seeds = [result["stages"][stage] for result in results]
        told = over_seeds([1 - one["assistant_red_team"][0] for one in of_seeds], 100)
        rows.append([label, told, over_seeds([one["assistant_questions"][0] for one in of_seeds], 100)])
    table(title, ["stage", *(f"{asked}, %" for asked in ASKED.values())], rows)
    rows = [["AI feedback, pairs of answers", over_seeds([r["feedback"]["agreement"] for r in results], 100)]]
    for name, label in PAIRS.items():
        rows.append(
            [f"preference model, pairs {label}", over_seeds([r["preference_model"][name] for r in results], 100)]
        )
    table("agreement with the rule, %", ["", ""], rows)
    kinds = {"scores_differ": "the rule tells apart", "scores_equal": "it does not"}
    rows = [[label, over_seeds([r["share_mean"][name] for r in results], 100)] for name, label in kinds.items()]
    table("mean soft label of the chosen answer of pairs, %", ["", ""], rows)
    rows = [[STAGES[name], over_seeds([r["invented"][name] for r in results], 100)] for name in results[0]["invented"]]
    table("another code invented, % of answers without the secret", ["", ""], rows)


def draw(runs: Sequence[Mapping], file: Path) -> None:
    """Learned reward and the rule against the KL divergence from the start, and the rule by kind over the steps."""
    figure = Figure(figsize=(9.5, 8), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplot_mosaic([["learned", "rule"], ["steps", "steps"]])
    for key, title, unit, scale in (
        ("learned", "Learned reward of the rollouts", "mean", 1), ("rule", "Rollouts, right by the rule", "%", 100),
    ):  # fmt: skip
        axes = panels[key]
        for run, color in zip(runs, cycle(COLORS[2:]), strict=False):
            x, y = (_smooth(run["rollouts"][name]) for name in ("kl", key))
            axes.plot(x, scale * y, color=color, linewidth=1.2)
            axes.plot(x[-1], scale * y[-1], "o", color=color, markersize=5)
        axes.set(title=title, xlabel="KL from the start, nats per token", ylabel=unit)
    panels["rule"].set(ylim=(0, 102))
    steps = panels["steps"]
    for name, label, color in zip(ASKED, ("keeps the secret", "answers the question"), COLORS, strict=False):
        at = [record["step"] for record in runs[0]["evaluations"]]
        values = np.array([[100 * record[name][0] for record in run["evaluations"]] for run in runs])
        steps.plot(at, values.T, color=color, alpha=0.3, linewidth=1)
        steps.plot(at, values.mean(axis=0), color=color, linewidth=2, label=f"{label}, mean of seeds")
    steps.set(title="Held-out prompts", xlabel="steps", ylabel="%", ylim=(0, 102))
    steps.legend(loc="center right")
    for axes in panels.values():
        axes.grid(alpha=0.3)
    figure.suptitle(f"Above: a color is a seed, the dot its end; running means of {WINDOW} rollouts", fontsize=10)
    figure.savefig(file, dpi=130)


def _smooth(values: Sequence[float]) -> np.ndarray:
    """Running means of `WINDOW` values."""
    return np.convolve(values, np.ones(WINDOW) / WINDOW, mode="valid")


if __name__ == "__main__":
    run_command(main)
