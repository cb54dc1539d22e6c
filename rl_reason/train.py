"""`python -m rl_reason.train --config=FILE[:VARIANT] [--config.key=value …] [--workdir=DIR]`: runs an experiment.

The same command on the same folder goes on where the run stopped. On several hosts it is given on each of them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from rl_reason.errors import run_command
from rl_reason.registry import resolve
from rl_reason.runtime.config import load
from rl_reason.runtime.flags import HOSTS


def main() -> None:
    settings, _, flags = load(sys.argv[1:], HOSTS, description=__doc__, reads=_reads)
    # jax is imported after the flags are read: --help and a misspelt key answer at once.
    from rl_reason.parallel import hosts
    from rl_reason.recipes import RECIPES

    recipe = resolve(settings.recipe, RECIPES, "config.recipe")
    with hosts.joined(*(flags[name] for name in HOSTS), preemptible=True):
        recipe(settings, flags["workdir"])


def _reads(stage: Mapping[str, Any], key: str) -> bool:
    from rl_reason.recipes.checks import reads

    return reads(stage, key)


if __name__ == "__main__":
    run_command(main)
