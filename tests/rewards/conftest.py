import sys
from pathlib import Path

import pytest

from rl_reason.errors import UsageError
from rl_reason.rewards.code import code

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def isolation() -> None:
    """For tests that need the sandbox."""
    try:
        code.check("config.reward.names")
    except UsageError as error:
        pytest.skip(f"no isolation on this machine: {error}")
