"""Sampling one step ahead at paper size: both orders; `time/step_s` is in metrics.jsonl, accuracy in eval.jsonl."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.full import Command, Pod, train
from experiments.sampling_ahead.run import CONFIG, ORDERS


def commands(pod: Pod) -> Iterator[Command]:
    for seed in pod.seeds:
        for order, changes in ORDERS.items():
            if changes:
                folder = pod.folder("sampling_ahead", f"{order.replace(' ', '_')}-{seed}")
                yield train(CONFIG.removesuffix(":tiny"), seed, folder, changes)
            else:
                yield pod.shared("grpo_math", seed)[1]
