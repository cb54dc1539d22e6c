"""The methods at paper size: all from one fine-tuned model, as in figure 5; then 8 samples of each held-out problem."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.full import MATH, Command, Pod, evaluate, train
from experiments.methods.run import RUNS

JUDGES = {"grpo_process": "prm_math", "iterative": "orm_math"}
"""Method → what it is rewarded by, where that is a model."""
SAMPLES = {"samples": 8, "temperature": 1.0}


def commands(pod: Pod) -> Iterator[Command]:
    for seed in pod.seeds:
        start, command = pod.shared("sft_math", seed)
        yield command
        judges = {name: pod.shared(config, seed) for name, config in JUDGES.items()}
        yield from (command for _, command in judges.values())
        for name, run in RUNS.items():
            folder = pod.folder("methods", name, f"seed{seed}")
            changes = {"model.path": f"{start}/export"}
            changes |= {"reward.model": f"{judges[name][0]}/export"} if name in judges else {}
            yield train(run.config.removesuffix(":tiny"), seed, folder, changes)
            yield evaluate(f"{folder}/export", f"{folder}/held_out", MATH, SAMPLES, {"seed": seed})
