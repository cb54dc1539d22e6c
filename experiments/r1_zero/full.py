"""R1-Zero at paper size: the run, evaluated on the way, and the curves and the table of it."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.full import Command, Pod, python, train

CONFIG = "configs/r1_zero_math.py"


def commands(pod: Pod) -> Iterator[Command]:
    folder = pod.folder("r1_zero")
    for seed in pod.seeds:
        yield train(CONFIG, seed, f"{folder}/seed{seed}", {"data.dir": pod.data})
    asked = {"config": CONFIG, "seeds": pod.number, "output": folder}
    yield python("experiments.r1_zero.run", asked, "--draw")
