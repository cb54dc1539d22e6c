"""torch, which the oracles of tests need, is not there for commands, as it is not for users: a third of their start."""

import sys

sys.modules["torch"] = None  # type: ignore[assignment]
