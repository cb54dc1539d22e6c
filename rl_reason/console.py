"""The commands as programs: `rl-reason-train` does what `python -m rl_reason.train` does."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from rl_reason.errors import run_command

PREFIX = "rl-reason-"


def main() -> None:
    """Runs the command in whose name this program was started (`setup.py` has the names)."""
    # Where rewards, data and templates of the user's own lie, as with `python -m`; behind all that is installed, lest a
    # copy of this package there become half of what runs.
    sys.path.append(str(Path.cwd()))
    name = Path(sys.argv[0]).stem.removeprefix(PREFIX)
    run_command(importlib.import_module(f"rl_reason.{name}").main)
