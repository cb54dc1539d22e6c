"""Two stages behind those of `configs/constitutional.py:tiny`: a preference model of AI feedback on red-team prompts
alone, and a long reinforcement against it with next to no penalty for leaving the start.

They begin where those of the pipeline in a folder did: `--config=experiments/constitutional/over_optimisation.py:DIR`.
A penalty so small changes nothing, and has the KL divergence measured.
"""

import json
from pathlib import Path

from rl_reason.errors import UsageError
from rl_reason.settings import Settings, pipeline

STEPS, EVALUATIONS = 60, 12


def get_config(variant: str = ""):
    if not variant or not (Path(variant) / "policy" / "config.json").is_file():
        raise UsageError(f"{variant!r}: expected the folder of a pipeline whose stage 'policy' is done")
    model, policy = (_config(Path(variant) / stage) for stage in ("preference_model", "policy"))
    model.data.name = str(Path(variant) / "preferences" / "preferences.jsonl")
    policy.steps = max(STEPS, policy.steps)
    policy.algorithm.kl_coef = 1e-4
    policy.reward.model = policy.critic.path = "stage:preference_model/export"
    if policy.evaluation.samples:  # Of paper size there is no rule that prompts could be evaluated by.
        policy.evaluation.every = policy.steps // EVALUATIONS
        policy.evaluation.samples_during = policy.evaluation.samples
    return pipeline(preference_model=model, policy=policy)


def _config(folder: Path):
    return Settings.from_dict(json.loads((folder / "config.json").read_text())).to_config()
