"""The stage `reasoning` of `configs/r1_math.py:tiny` without the reward for one language.

It begins where that of the pipeline in a folder did: `--config=experiments/r1/without_language.py:FOLDER`.
"""

import json
from pathlib import Path

from rl_reason.errors import UsageError
from rl_reason.settings import Settings


def get_config(variant: str = ""):
    file = Path(variant) / "reasoning" / "config.json"
    if not variant or not file.is_file():
        raise UsageError(f"{file}: expected the folder of a pipeline whose stage 'reasoning' is done")
    config = Settings.from_dict(json.loads(file.read_text())).to_config()
    weights = dict(zip(config.reward.names, config.reward.weights, strict=True)) | {"language": 0.0}
    config.reward.weights = tuple(weights.values())
    return config
