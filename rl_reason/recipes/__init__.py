"""One linear loop per kind of training, by name."""

from __future__ import annotations

from collections.abc import Callable

from rl_reason.recipes import policy_gradient, preference, rejection, supervised

RECIPES: dict[str, Callable] = {
    "policy_gradient": policy_gradient.run,
    "supervised": supervised.run,
    "rejection": rejection.run,
    "preference": preference.run,
}
"""`config.recipe` → `run(settings, workdir)`."""
