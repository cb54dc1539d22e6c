"""Which version of which program a grader is: numbers of two graders, or of two versions of one, cannot be compared."""

from __future__ import annotations

import hashlib
import inspect
from importlib import metadata
from pathlib import Path

from rl_reason.errors import UsageError
from rl_reason.registry import resolve
from rl_reason.rewards import REWARDS

LIBRARIES = {
    "rl_reason.rewards.math": "math-verify",
    "rl_reason.rewards.gym": "reasoning-gym",
    "rl_reason.rewards.geometry": "newclid",
}
"""Modules of graders whose verdict is another package's."""


def version_of(grader: str, key: str = "--grader") -> str:
    """Such as "math-verify 0.9.0" or "rl_reason 0.1.0"; of the user's own function the digest of its file.

    Raises:
        UsageError: an unknown name, or the package is not there; names `key`.
    """
    function = resolve(grader, REWARDS, key)
    module = function.__module__
    if grader not in REWARDS:
        file = inspect.getsourcefile(inspect.unwrap(function))
        return f"{module} {hashlib.sha256(Path(file).read_bytes()).hexdigest()[:12]}" if file else module
    package = LIBRARIES.get(module, "rl_reason")
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        raise UsageError(f"{key}={grader!r}: needs the package {package}, which is not installed") from None
