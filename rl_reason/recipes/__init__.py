"""One linear loop per kind of training, by name."""

from __future__ import annotations

from collections.abc import Callable

from rl_reason.recipes import distillation, policy_gradient, preference, rejection, reward_model, supervised

RECIPES: dict[str, Callable] = {
    "distillation": distillation.run,
    "policy_gradient": policy_gradient.run,
    "preference": preference.run,
    "rejection": rejection.run,
    "reward_model": reward_model.run,
    "supervised": supervised.run,
}
"""`config.recipe` → `run(settings, workdir)`."""
