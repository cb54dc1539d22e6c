"""DeepSeek-R1's stages at paper size, the one without the reward for one language, and the paper's evaluation."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.full import Command, Pod, evaluate, train
from experiments.r1.run import ABLATION, CONFIG, STAGES, WITHOUT

EVALUATION = {"data": "aime24+math500", "protocol": "r1"}


def commands(pod: Pod) -> Iterator[Command]:
    for seed in pod.seeds:
        folder, without = pod.folder("r1", f"seed{seed}"), pod.folder("r1", f"seed{seed}_{WITHOUT}")
        yield train(CONFIG.removesuffix(":tiny"), seed, folder, {"stages.*.data.dir": pod.data})
        yield train(f"{ABLATION}:{folder}", seed, without)
        for stage in STAGES:
            if stage != "base":  # What comes before the first stage, whose own evaluation has it.
                run = without if stage == WITHOUT else f"{folder}/{stage}"
                yield evaluate(f"{run}/export", f"{run}/held_out", EVALUATION, {"dir": pod.data, "seed": seed})
