"""Constitutional AI at paper size, and the long reinforcement by a preference model of red-team prompts alone. The
config's data are files of yours, which it names."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.constitutional.run import CONFIG, LONG
from experiments.full import Command, Pod, train


def commands(pod: Pod) -> Iterator[Command]:
    for seed in pod.seeds:
        folder = pod.folder("constitutional", f"seed{seed}")
        yield train(CONFIG.removesuffix(":tiny"), seed, folder)
        # The stages' configs have their seed in them, to which a pipeline adds its own.
        yield train(f"{LONG}:{folder}", 0, f"{folder}_over_optimisation")
