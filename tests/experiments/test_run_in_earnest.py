"""An experiment as a user starts it: its own command runs in a process of its own, on a folder of data, and what it
finds is kept only where that is asked for."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from experiments import results
from experiments.catalogue import EXPERIMENTS, HERE, ROOT
from experiments.graders_code.run import FILES, KINDS
from tests.end_to_end.commands import contents

NAME = "graders_code"
"""Of all experiments the one that takes least: it trains nothing."""
SUM = "def plus_{n}(x):\n", "    return x + {n}\n", "assert plus_{n}(1) == 1 + {n}\n"


@pytest.fixture
def started(tmp_path, isolation):
    """Runs it beside a copy of the experiments: what it writes there is not what is kept. Gives what was printed."""
    shutil.copytree(HERE, tmp_path / "experiments", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "data" / "code").mkdir(parents=True)
    for name in FILES:
        rows = [_problem(name, n) for n in (2, 3)]
        (tmp_path / "data" / "code" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def start(*flags: str) -> str:
        command = [sys.executable, "-m", "experiments.run", NAME, "--data=data", "--output=runs", *flags]
        # The folder that a command is started in stands before this path.
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return start


def _problem(of: str, n: int) -> dict:
    head, body, tests = (part.format(n=n) for part in SUM)
    form = ("completion", head) if of == "humaneval" else ("instruction", f"Add {n}.")
    asked = dict(zip(("prompt_type", "prompt"), form, strict=True))
    return asked | {"id": f"{of}/{n}", "entry_point": f"plus_{n}", "solution": head + body, "tests": tests}


def test_an_experiment_runs_and_is_kept_where_asked_for(started, tmp_path):
    experiments, made = tmp_path / "experiments", tmp_path / "runs" / NAME / "results.json"
    before = contents(experiments)
    printed = started("--seeds=1")
    assert f"python -m experiments.{NAME}.run" in printed and f"Written to {experiments}/RESULTS.md" in printed
    found = json.loads(made.read_text())["graded"]
    # Only HumanEval's prompts are programs that a completion goes on with.
    assert {name: len(of) for name, of in found.items()} == {
        name: len(KINDS) - (name != "humaneval") for name in FILES
    }
    for one in (one for of in found.values() for one in of):
        assert (one["n"], one["odd"], one["correct"]) == (2, [], 2 * one["has_to_pass"]), one
    assert contents(experiments) == before | {"RESULTS.md": results.build().encode()}
    assert f"Kept as {experiments}/{NAME}/results.json" in started("--publish")
    changed = {name for name, text in contents(experiments).items() if text != before[name]}
    assert changed == {"RESULTS.md", f"{NAME}/results.json"}
    assert (experiments / NAME / "results.json").read_bytes() == made.read_bytes()
    line = results.table(EXPERIMENTS[NAME].read(made))
    assert line in (experiments / "RESULTS.md").read_text() and line not in results.build()
