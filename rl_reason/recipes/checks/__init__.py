"""What is wrong with settings, told before anything is compiled: a file for each recipe, and what they share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rl_reason.errors import UnreadKey, UsageError
from rl_reason.recipes.checks.cleaning import check_clean
from rl_reason.recipes.checks.distillation import check_distillation
from rl_reason.recipes.checks.feedback import check_feedback
from rl_reason.recipes.checks.generation import check_generation
from rl_reason.recipes.checks.policy_gradient import check_policy_gradient
from rl_reason.recipes.checks.preference import check_preference
from rl_reason.recipes.checks.pretraining import check_pretraining
from rl_reason.recipes.checks.reward_model import check_reward_model
from rl_reason.recipes.checks.selecting import check_rank, check_select
from rl_reason.recipes.checks.supervised import check_rejection, check_supervised
from rl_reason.recipes.checks.synthesis import check_synthesis
from rl_reason.settings import Settings

OF_RECIPES = {
    "clean": check_clean,
    "distillation": check_distillation,
    "feedback": check_feedback,
    "generate": check_generation,
    "policy_gradient": check_policy_gradient,
    "preference": check_preference,
    "pretraining": check_pretraining,
    "rank": check_rank,
    "rejection": check_rejection,
    "reward_model": check_reward_model,
    "select": check_select,
    "supervised": check_supervised,
    "synthesis": check_synthesis,
}
"""`config.recipe` → what is wrong with its settings, told without data and devices."""


def reads(config: Mapping[str, Any], key: str) -> bool:
    """Whether the recipe of a config, as a dictionary, reads what stands there under a key such as "data.dir"."""
    try:
        settings = Settings.from_dict(dict(config))
        OF_RECIPES.get(settings.recipe, lambda _: None)(settings)
    except UnreadKey as error:
        return error.key != key
    except UsageError:  # It is told when all overrides are in their places.
        pass
    return True
