"""Test-time compute at paper size: samples, beams and trees of MATH-500, and what RL does to maj@K and pass@K."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.full import BASE, MATH, Command, Flags, Pod, evaluate
from experiments.test_time_scaling.run import SEARCHES
from rl_reason.sampling.beam import Beam
from rl_reason.sampling.tree import Tree

DATA = ("gsm8k", "math500")
"""Before and after RL, as DeepSeekMath's figure 7, on the one and part of the other of its two sets."""
JUDGED = MATH | {"data": "math500", "temperature": 1.0}
SAMPLES = {"samples": 64}
PLAIN = {"template": MATH["template"], "grader": MATH["grader"], "temperature": 0.7}
"""Figure 7's temperature."""


def searching(search: Beam | Tree) -> Flags:
    """Flags of an evaluation by a search; votes among its solutions stand in its results, too."""
    if isinstance(search, Beam):
        return {"search": "beam", "width": search.width, "expansions": search.expansions}
    return {"search": "tree", "simulations": search.simulations, "expansions": search.expansions}


def commands(pod: Pod) -> Iterator[Command]:
    for seed in pod.seeds:
        judge, train_judge = pod.shared("prm_math", seed)
        after, train_policy = pod.shared("grpo_math", seed)
        yield from (train_judge, train_policy)
        folder = pod.folder("test_time_scaling", f"seed{seed}")
        judged = JUDGED | {"dir": pod.data, "reward_model": f"{judge}/export", "seed": seed}
        yield evaluate(BASE, f"{folder}/samples", judged, SAMPLES)
        for name, search in SEARCHES.items():
            for choose in ("score", "vote"):
                found = f"{folder}/{name}-{choose}"
                yield evaluate(BASE, found, judged, searching(search), {"choose": choose})
        for data in DATA:
            asked = {"data": data, "dir": pod.data, "seed": seed}
            for when, model in (("before", BASE), ("after", f"{after}/export")):
                yield evaluate(model, f"{folder}/{data}-{when}", asked, PLAIN, SAMPLES)
