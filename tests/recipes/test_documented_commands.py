"""Training commands in documents and docstrings ask for something that is right in itself."""

import re
import shlex
from pathlib import Path

import pytest

from rl_reason.geometry import engine
from rl_reason.recipes import pipeline
from rl_reason.recipes.checks import OF_RECIPES, reads
from rl_reason.runtime.config import load
from rl_reason.runtime.flags import HOSTS

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "configs").glob("*.py"))]
FILES += sorted((ROOT / "experiments").glob("*/README.md"))


def commands(file: Path) -> list[str]:
    """The lines `python -m rl_reason.train …` of a file, with what they go on with behind a backslash."""
    text = file.read_text().replace("\\\\\n", "\\\n").replace("\\\n", " ")
    found = re.findall(r"python -m rl_reason\.train (--config=configs/[^\n`]*)", text)
    # A command within quotes, as one for all workers, ends where they do; "N" stands for a number.
    found = [command.removesuffix('"') if command.count('"') % 2 else command for command in found]
    return [re.sub(r"=N(?= |$)", "=7", re.sub(r"\s+(#|…|&&).*", "", command)).strip() for command in found]


CASES = [(file, command) for file in FILES for command in commands(file)]


def test_there_are_some():
    assert len(CASES) > 20 and len({file for file, _ in CASES}) > 10


@pytest.mark.parametrize("file, command", CASES, ids=lambda value: getattr(value, "name", None))
def test_is_right_in_itself(file, command, monkeypatch):
    if "alphageometry" in command and not engine.is_installed():
        pytest.skip(f"not installed: {engine.PACKAGES}")
    monkeypatch.chdir(ROOT)
    settings = load(shlex.split(command), HOSTS, reads=reads).settings
    if settings.recipe == "pipeline":
        pipeline.check(settings)
    else:
        OF_RECIPES[settings.recipe](settings)


def test_the_example_of_a_pipeline(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    text = (ROOT / "docs" / "pipelines.md").read_text()
    (tmp_path / "example.py").write_text(re.search(r"```python\n(.*?)```", text, re.S)[1])
    for variant in ("", ":tiny"):
        flags = [f"--config={tmp_path}/example.py{variant}", "--config.stages.tuned.steps=100"]
        pipeline.check(load(flags).settings)
