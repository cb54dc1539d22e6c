"""The stage `policy` of `configs/constitutional.py:tiny`, longer and with next to no penalty for leaving the start.

It begins where that of the pipeline in a folder did: `--config=experiments/constitutional/without_penalty.py:FOLDER`. A
penalty so small changes nothing and has the KL divergence measured.
"""

import json
from pathlib import Path

from rl_reason.errors import UsageError
from rl_reason.settings import Settings

STEPS, EVALUATIONS = 120, 12


def get_config(variant: str = ""):
    file = Path(variant) / "policy" / "config.json"
    if not variant or not file.is_file():
        raise UsageError(f"{file}: expected the folder of a pipeline whose stage 'policy' is done")
    config = Settings.from_dict(json.loads(file.read_text())).to_config()
    config.steps = STEPS
    config.algorithm.kl_coef = 1e-4
    config.evaluation.every = STEPS // EVALUATIONS
    config.evaluation.samples_during = config.evaluation.samples
    return config
