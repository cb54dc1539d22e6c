import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def shared_code() -> Path:
    """The folder of public programming problems that lies beside the repository."""
    folder = Path(__file__).parents[2].parent / "shared" / "data" / "code"
    if not folder.is_dir():
        pytest.skip(f"no shared data: {folder} is not there")
    return folder
