"""One linear loop per kind of training, and that of generating data, by name."""

from __future__ import annotations

from collections.abc import Callable

from rl_reason.recipes import (
    distillation,
    feedback,
    generation,
    pipeline,
    policy_gradient,
    preference,
    rejection,
    reward_model,
    selecting,
    supervised,
)

RECIPES: dict[str, Callable] = {
    "distillation": distillation.run,
    "feedback": feedback.run,
    "generate": generation.run,
    "pipeline": pipeline.run,
    "policy_gradient": policy_gradient.run,
    "preference": preference.run,
    "rejection": rejection.run,
    "reward_model": reward_model.run,
    "select": selecting.run,
    "supervised": supervised.run,
}
"""`config.recipe` → `run(settings, workdir)`."""
