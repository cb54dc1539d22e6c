"""What did not work, at paper size: learned rewards alone, and rounds of data made by tree search beside sampling."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.full import BASE, MATH, Command, Pod, evaluate, python, train
from experiments.unsuccessful.hacking import FREE, JUDGES, arms_by
from experiments.unsuccessful.search_data import ARMS, TREE

ROUNDS = 3
ASKED = MATH | {"split": "train", "temperature": 1.0}
"""All training questions in each round, sampled anew."""
FOUND = {"search": TREE, "sampling": {"samples": TREE["simulations"]}}
"""As many samples of a question as a tree has simulations; results.json tells the tokens that each took."""


def commands(pod: Pod) -> Iterator[Command]:
    for seed in pod.seeds:
        judges = {name: pod.shared(config, seed) for name, config in JUDGES.items()}
        yield from (command for _, command in judges.values())
        for name, arm in arms_by("accuracy").items():
            changes = {"reward.model": f"{judges[arm.judge][0]}/export", **FREE, **arm.changes}
            yield train(f"configs/{arm.config}.py", seed, pod.folder("unsuccessful", f"seed{seed}", name), changes)
        for arm_name in ARMS:
            yield from rounds(pod.folder("unsuccessful", f"seed{seed}"), arm_name, seed)


def rounds(folder: str, arm: str, seed: int) -> Iterator[Command]:
    """Solutions of training questions are found, selected and learned from; the next round begins with that policy."""
    policy = BASE
    for number in range(1, ROUNDS + 1):
        found, asked = f"{folder}/{arm}-{number}-found", {**ASKED, **FOUND[arm], "seed": number}
        if arm == "search":
            judge = f"{folder}/judge-{number}"
            yield train("configs/prm_math.py", seed, judge, {"reward_model.policy": policy} if number > 1 else None)
            asked["reward_model"] = f"{judge}/export"
        yield evaluate(policy, found, asked)
        file = f"{found}/selected.jsonl"
        yield python("experiments.unsuccessful.select", {"found": found, "data": ASKED["data"], "output": file})
        # A file has no test split of its own.
        learned = {"model.path": policy, "data.name": file, "evaluation.name": MATH["data"]}
        yield train("configs/sft_math.py", seed, f"{folder}/{arm}-{number}", learned)
        policy = f"{folder}/{arm}-{number}/export"
