"""Distillation at paper size: the student of a teacher behind a server, the same student by reinforcement, and the one
on the teacher's distribution; then the paper's evaluation."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.distillation.run import CONFIG
from experiments.full import MATH, Command, Pod, evaluate, train

EVALUATION = {"data": "aime24+math500", "protocol": "r1"}


def commands(pod: Pod) -> Iterator[Command]:
    config = CONFIG.removesuffix(":tiny")
    for seed in pod.seeds:
        folder, on_policy = (pod.folder("distillation", f"seed{seed}{name}") for name in ("", "_on_policy"))
        teacher = {"stages.samples.endpoint.url": f"http://{pod.teacher}:8000/v1"}
        yield train(config, seed, folder, teacher | {"stages.*.data.dir": pod.data})
        for stage in ("student", "by_reinforcement"):
            run = f"{folder}/{stage}"
            yield evaluate(f"{run}/export", f"{run}/held_out", EVALUATION, {"dir": pod.data, "seed": seed})
        yield train(f"{config}:on_policy", seed, on_policy)
        # Its base has positions for 4,096 tokens.
        yield evaluate(f"{on_policy}/export", f"{on_policy}/held_out", MATH, {"max_tokens": 2048, "seed": seed})
