"""o1's two axes at paper size: the run with its evaluations and `flops`, then samples and searches of the policy as it
was before, in the middle and at the end of its training."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.full import BASE, Command, Pod, evaluate, python, train
from experiments.o1.run import SEARCHES
from experiments.test_time_scaling.full import searching

CONFIG = "configs/o1_math.py"
STEPS = (0, 400, 1000)
"""As in `run.py`, at the same shares of the training."""
ASKED = {
    "data": "aime24", "template": "boxed_plain", "temperature": 0.6, "top_p": 0.95, "max_tokens": 3072,
}  # fmt: skip
SAMPLES = {"samples": 1024}
"""64 for the majority, 1000 for what is re-ranked: of k samples the figures stand in one results.json."""


def commands(pod: Pod) -> Iterator[Command]:
    for seed in pod.seeds:
        folder = pod.folder("o1", f"seed{seed}")
        kept = {"stages.*.data.dir": pod.data, "stages.policy.checkpoint.keep": 0}
        yield train(CONFIG, seed, f"{folder}/run", kept)
        judged = {"dir": pod.data, "reward_model": f"{folder}/run/judge/export", "seed": seed}
        for step in STEPS:
            model = f"{folder}/policy{step}" if step else BASE
            if step:
                made = {"workdir": f"{folder}/run/policy", "output": model, "step": step}
                yield python("rl_reason.export", made)
            yield evaluate(model, f"{folder}/step{step}-samples", ASKED, judged, SAMPLES)
            for name, search in SEARCHES.items():
                found = f"{folder}/step{step}-{name}"
                yield evaluate(model, found, ASKED, judged, searching(search), {"choose": "vote"})
