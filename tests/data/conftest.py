import json
from pathlib import Path

import pytest

from rl_reason.data.tokenization import train_tokenizer

TEXTS = [
    "Tom has 12 apples and buys 30 more. How many apples does he have now?",
    "<think>12+30=42</think><answer>42</answer>",
    "There are 7 boxes with 9 coins each. Anna gives away 13 coins.",
] * 3


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data that lies beside the repository."""
    folder = Path(__file__).parents[2].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no shared data: {folder} is not there")
    return folder


@pytest.fixture(scope="session")
def tokenizer():
    return train_tokenizer(TEXTS, 300)


@pytest.fixture
def write_jsonl(tmp_path):
    """write_jsonl(name, rows): a file below tmp_path; a row that is a string is written as it is."""

    def write(name: str, rows) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write
