"""A pipeline of three stages, each a few seconds: a config file for tests."""

from pathlib import Path

from rl_reason.runtime.config import read
from rl_reason.settings import defaults, pipeline

CONFIGS = Path(__file__).parents[2] / "configs"


def tuned():
    config = read(str(CONFIGS / "sft_tiny.py"), "tiny")
    config.model.shape = {}
    config.data.max_prompt_length = 200
    config.data.problems = 8
    config.data.solutions = ((0, (("original", 1.0),)),)
    config.sampling.max_length = 320
    config.algorithm.batch_size = 2
    config.steps = 2
    config.evaluation.name = "word_problems"
    config.evaluation.problems = 4
    config.evaluation.samples = 2
    return config


def get_config(variant: str = ""):
    first, second = tuned(), tuned()
    first.evaluation.samples = 0
    second.model.path = "stage:first/export"
    second.data.name = "stage:chosen/selected.jsonl"
    chosen = defaults()
    chosen.recipe = "select"
    chosen.selection.least = (("number", 1.0),)
    chosen.reward.names = ("number",)
    # What a stage of the recipe `generate` would have made.
    chosen.selection.inputs = (variant,)
    return pipeline(first=first, chosen=chosen, second=second)
