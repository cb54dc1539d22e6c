"""The batch script of `docs/slurm.md`: what it starts, and what it does when its time is over."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from rl_reason.recipes.checks import OF_RECIPES
from rl_reason.runtime.config import load
from rl_reason.runtime.flags import HOSTS

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docs" / "slurm" / "train.sbatch"


def option(name: str) -> int:
    return int(re.search(rf"^#SBATCH --{name}=(\d+)$", SCRIPT.read_text(), re.MULTILINE)[1])


@pytest.fixture
def submit(tmp_path):
    """`submit(status, *flags)` runs the script with an `srun` that ends so; returns its exit status, the words that
    `srun` was given, and what `scontrol` was."""

    def run(status: int, *flags: str):
        told = {name: tmp_path / name for name in ("srun", "scontrol")}
        (tmp_path / "bin").mkdir()
        for name, code in (("srun", status), ("scontrol", 0)):
            program = tmp_path / "bin" / name
            program.write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" > {told[name]}\nexit {code}\n')
            program.chmod(0o755)
        paths = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "HOME": str(tmp_path), "SLURM_JOB_ID": "17"}
        done = subprocess.run(["bash", str(SCRIPT), *flags], env=paths, cwd=tmp_path)
        return done.returncode, *(file.read_text().split("\n")[:-1] if file.exists() else [] for file in told.values())

    return run


def test_the_command_is_one_that_trains(submit, monkeypatch):
    _, words, _ = submit(0, "--config.seed=1")
    start = words.index("rl_reason.train")
    assert words[start - 2 : start] == [".venv/bin/python", "-m"]
    monkeypatch.chdir(ROOT)
    settings, _, flags = load(words[start + 1 :], HOSTS)
    OF_RECIPES[settings.recipe](settings)
    assert settings.seed == 1 and flags["workdir"].endswith("/runs/grpo_math")
    # Each task has one GPU, and a node as many as `fsdp` shares weights over.
    mesh = settings.mesh
    assert option("ntasks-per-node") == option("gpus-per-node") == mesh.fsdp
    assert (mesh.slice, mesh.data) == (option("nodes"), 1)


@pytest.mark.parametrize("status, again", [(0, []), (1, []), (137, []), (143, ["requeue", "17"])])
def test_what_was_saved_and_stopped_is_put_back(submit, status, again):
    assert submit(status)[::2] == (status, again)


def test_the_signal_is_for_the_tasks():
    """With `B:` the script would have it, which waits for `srun`."""
    assert re.search(r"^#SBATCH --signal=TERM@\d+$", SCRIPT.read_text(), re.MULTILINE)
    assert not subprocess.run(["bash", "-n", str(SCRIPT)]).returncode


def test_commands_on_the_page_name_the_script():
    commands = re.findall(r"^ {4}(sbatch .*)$", (ROOT / "docs" / "slurm.md").read_text(), re.MULTILINE)
    assert commands and all((ROOT / shlex.split(command)[1]) == SCRIPT for command in commands)
