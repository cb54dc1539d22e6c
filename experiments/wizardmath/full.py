"""WizardMath at paper size: the pipeline, whose stages_table.json is the ablation."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.full import Command, Pod, train
from experiments.wizardmath.run import CONFIG


def commands(pod: Pod) -> Iterator[Command]:
    for seed in pod.seeds:
        yield train(CONFIG.removesuffix(":tiny"), seed, pod.folder("wizardmath", f"seed{seed}"))
