"""AlphaGeometry at paper size: the pipeline, and the paper's search by the model of either stage on both benchmarks,
with beams from one statement to the paper's 512."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.alphageometry.run import BEAMS, CONFIG, STAGES
from experiments.full import Command, Pod, python, train
from rl_reason.data.geometry import BENCHMARKS

WIDEST = 512
SEARCH = {"depth": 16, "samples": 32, "max_tokens": 512}


def commands(pod: Pod) -> Iterator[Command]:
    for seed in pod.seeds:
        folder = pod.folder("alphageometry", f"seed{seed}")
        yield train(CONFIG.removesuffix(":tiny"), seed, folder)
        for stage in STAGES:
            for data in BENCHMARKS:
                for beam in (*BEAMS, WIDEST):
                    asked = {"model": f"{folder}/{stage}/export", "data": data, "dir": pod.data, "beam": beam}
                    output = f"{folder}/{data}_{stage}_{beam}"
                    yield python("rl_reason.prove", asked | SEARCH | {"seed": seed, "output": output})
