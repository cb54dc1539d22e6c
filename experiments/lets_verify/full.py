"""Let's Verify Step by Step at paper size: best of 1860 on MATH-500 by each score, votes and majority beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from experiments.full import MATH, Command, Pod, evaluate, train
from experiments.lets_verify.run import CONFIGS, SCORES, chosen, judging

SAMPLES = MATH | {"data": "math500", "samples": 1860, "temperature": 1.0}


def commands(pod: Pod) -> Iterator[Command]:
    """As in `run.py` both models start from the policy and learn from its samples, and then choose among others."""
    for seed in pod.seeds:
        policy, command = pod.shared("sft_math", seed)
        yield command
        folder = Path(pod.folder("lets_verify", f"seed{seed}"))
        for kind, config in CONFIGS.items():
            yield train(config.removesuffix(":tiny"), seed, f"{folder}/{kind}", {"model.path": f"{policy}/export"})
        for name in SCORES:
            asked = {"dir": pod.data, "seed": seed, **judging(folder, name)}
            yield evaluate(f"{policy}/export", str(chosen(folder, name)), SAMPLES, asked)
