"""`configs/constitutional.py:tiny` with everything small: a config file for tests.

Its variant is a server's address, which then answers, criticizes, revises and compares; without one the shipped model
does.
"""

from pathlib import Path

from rl_reason.runtime.config import read
from rl_reason.settings import ask_server

CONFIGS = Path(__file__).parents[2] / "configs"
ASKED = ("answers", "critique_1", "revision_1", "preferences")


def get_config(variant: str = ""):
    config = read(str(CONFIGS / "constitutional.py"), "tiny")
    for name, stage in config.stages.items():
        if stage.recipe == "generate":
            stage.data.problems = 24
        if name in ("tuned", "policy"):
            stage.evaluation.problems = 16
            stage.evaluation.samples = 2
        if variant and name in ASKED:
            ask_server(stage, variant, "helper")
            stage.data.template = "chat"
        elif stage.recipe != "select":
            stage.mesh.data = 2
        if stage.recipe == "generate" and stage.model.path:
            stage.sampling.batch_size = 16
    for name, steps in {"tuned": 4, "preference_model": 4, "policy": 3}.items():
        config.stages[name].steps = steps
        config.stages[name].checkpoint.every = 2
        config.stages[name].algorithm.batch_size = 16
    config.stages.tuned.data.problems = 40
    config.stages.policy.critic.pretrain_steps = 1
    return config
