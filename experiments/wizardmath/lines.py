"""The lines of evolution by themselves: the fine-tuning of `configs/wizardmath.py:tiny`, longer and on worked-out
solutions only.

The pipeline's own is short and has bare answers in it, so that something is left for reinforcement; what seeds differ
by is more, there, than what a line adds.
"""

from pathlib import Path

from rl_reason.runtime.config import check_variant, read
from rl_reason.settings import pipeline

CONFIG = Path(__file__).parents[2] / "configs" / "wizardmath.py"
STEPS = 400


def get_config(variant: str = ""):
    check_variant(variant, ())
    stages = read(str(CONFIG), "tiny").stages
    kept = {name: stages[name] for name in stages if name.startswith(("pool_", "tuned_"))}
    for name, stage in kept.items():
        if name.startswith("tuned_"):
            stage.steps = STEPS
            stage.data.solutions = ((0, (("worked", 1.0),)),)
    return pipeline(**kept)
