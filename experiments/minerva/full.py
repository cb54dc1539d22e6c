"""Minerva at paper size: the mixture, general text alone, and the base, with the paper's majority of 256."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.full import Command, Pod, evaluate, train
from experiments.minerva.run import ARMS, CONFIG, alone

GENERAL = "general"
"""The config's name for text without mathematics."""
BASE = "Qwen/Qwen2.5-7B"
SAMPLES = {"data": "math500", "protocol": "minerva", "samples": 256}
GREEDY = SAMPLES | {"samples": 1, "temperature": 0.0}


def commands(pod: Pod) -> Iterator[Command]:
    for seed in pod.seeds:
        asked = {"dir": pod.data, "seed": seed}
        models = {"before": BASE}
        for name in ARMS:
            folder = pod.folder("minerva", f"seed{seed}_{name}")
            changes = {"data.dir": pod.data} | ({"documents.sources": alone(GENERAL)} if name == GENERAL else {})
            yield train(CONFIG.removesuffix(":tiny"), seed, folder, changes)
            models[name] = f"{folder}/export"
        for name, model in models.items():
            yield evaluate(model, pod.folder("minerva", f"seed{seed}_{name}_maj256"), SAMPLES, asked)
            yield evaluate(model, pod.folder("minerva", f"seed{seed}_{name}_greedy"), GREEDY, asked)
