"""GRPO at paper size: its own evaluations are greedy, as table 5; 8 samples of each problem before and after."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.full import BASE, MATH, Command, Pod, evaluate, python

SAMPLES = {"samples": 8, "temperature": 1.0}


def commands(pod: Pod) -> Iterator[Command]:
    for seed in pod.seeds:
        run, command = pod.shared("grpo_math", seed)
        yield command
        before, after = (pod.folder("grpo_tiny", f"seed{seed}_{when}") for when in ("before", "after"))
        yield evaluate(BASE, before, MATH, SAMPLES, {"seed": seed})
        yield evaluate(f"{run}/export", after, MATH, SAMPLES, {"seed": seed})
        yield python("rl_reason.compare", {}, before, after)
