"""Memory on a pod. The plans of all shapes are of paper size by themselves; what is measured beside the plan of 7B are
two steps, whose `memory/device_GiB` in metrics.jsonl is the peak of a device."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.full import Command, Pod, python, train
from experiments.ppo_vs_grpo_memory.run import JUDGED, METHODS, SIZES

SHORT = {"steps": 2, "evaluation.samples": 0, "evaluation.every": 0, "checkpoint.every": 100}
"""What is measured; the plan is of the config as it stands, of which the first two steps are these."""


def commands(pod: Pod) -> Iterator[Command]:
    yield python("experiments.ppo_vs_grpo_memory.run", {"output": pod.folder("memory")})


def measured(pod: Pod) -> Iterator[Command]:
    """Of each method with a rule as its reward; the topology is that of the plan."""
    for method, (config, written) in METHODS.items():
        if JUDGED in written:
            continue
        changes = dict(flag.removeprefix("--config.").split("=", 1) for flag in written)
        name = method.replace(", ", "_").replace(" ", "_")
        keys = {f"config.{key}": value for key, value in changes.items()}
        folder = pod.folder("memory_measured", name)
        yield train(config, 0, folder, changes | SHORT)
        file = f"{folder}/plan.json"
        yield python("rl_reason.plan", {"config": config, **keys, "topology": SIZES["7B"].topology, "json": file})
