"""One linear loop per kind of training, and that of generating data, by name."""

from __future__ import annotations

from collections.abc import Callable

from rl_reason.recipes import (
    cleaning,
    distillation,
    feedback,
    generation,
    pipeline,
    policy_gradient,
    preference,
    pretraining,
    ranking,
    rejection,
    reward_model,
    selecting,
    supervised,
    synthesis,
)

RECIPES: dict[str, Callable] = {
    "clean": cleaning.run,
    "distillation": distillation.run,
    "feedback": feedback.run,
    "generate": generation.run,
    "pipeline": pipeline.run,
    "policy_gradient": policy_gradient.run,
    "preference": preference.run,
    "pretraining": pretraining.run,
    "rank": ranking.run,
    "rejection": rejection.run,
    "reward_model": reward_model.run,
    "select": selecting.run,
    "supervised": supervised.run,
    "synthesis": synthesis.run,
}
"""`config.recipe` → `run(settings, workdir)`."""
