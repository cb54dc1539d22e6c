"""The ablations at paper size: one sweep of the same arms, then the table and the picture of its runs."""

from __future__ import annotations

from collections.abc import Iterator

from experiments import sweep
from experiments.ablations.run import CONFIG, arms
from experiments.full import Command, Pod, python

FULL = CONFIG.removesuffix(":tiny")


def commands(pod: Pod) -> Iterator[Command]:
    asked = {"config": FULL, "seeds": pod.number, "output": pod.folder("ablations")}
    yield python("experiments.sweep", asked, *(f"--point={sweep.written(arm.changes)}" for arm in arms(FULL).values()))
    yield python("experiments.ablations.run", asked, "--draw")
