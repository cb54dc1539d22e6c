"""Every command in README, docs, configs and experiments is taken as far as it can be taken here.

Commands of the package are started in this process, from their flags on, and with the checks of their settings; what
would then compute, on a pod or for minutes, is replaced. `IN_EARNEST` names for each command of the package, and for
some others, a test that runs it whole, with flags of its own; other experiments and benchmarks are held to their flags.
Programs of others are held to what they name: targets of make, lock files, extras. A command that nobody here knows is
a failure.
"""

from __future__ import annotations

import ast
import functools
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from experiments.catalogue import EXPERIMENTS
from rl_reason import recipes
from rl_reason.data import sources
from rl_reason.data.templates import find_template
from rl_reason.geometry import engine
from rl_reason.objectives import surrogates
from rl_reason.parallel import topologies
from rl_reason.recipes import pipeline
from rl_reason.recipes.checks import OF_RECIPES
from rl_reason.rewards import REWARDS
from rl_reason.runtime.flags import parse_flags
from rl_reason.settings import defaults
from tests.documents.commands import PAGES, ROOT, Words, assignments, commands

FOUND = {words: page for page in reversed(PAGES) for words in commands(page)}
TUTORIAL = "tests/end_to_end/test_documented_commands.py::test_the_tutorial_from_the_run_to_what_is_kept"
IN_EARNEST = {
    "rl_reason.train": "tests/end_to_end/test_convergence.py::test_grpo_raises_the_reward_and_the_length",
    "rl_reason.evaluate": TUTORIAL,
    "rl_reason.compare": TUTORIAL,
    "rl_reason.export": TUTORIAL,
    "rl_reason.report": TUTORIAL,
    "rl_reason.generate": "tests/end_to_end/test_generate.py::test_samples_of_a_model",
    "rl_reason.prove": "tests/end_to_end/test_prove.py::test_the_engine_takes_what_helps_among_what_does_not",
    "rl_reason.plan": "tests/end_to_end/test_plan.py::test_7b_on_a_pod",
    "rl_reason.grade": "tests/documents/test_commands.py::test_goes_as_far_as_it_can",
    "rl_reason.contamination": "tests/documents/test_commands.py::test_goes_as_far_as_it_can",
    "experiments.sweep": "tests/end_to_end/test_sweep.py::test_points_are_trained_each_by_itself",
    "experiments.run": "tests/experiments/test_run_in_earnest.py::test_an_experiment_runs_and_is_kept_where_asked_for",
    "benchmarks.move": "tests/benchmarks/test_move.py::test_bytes_and_seconds",
    "benchmarks.report": "tests/benchmarks/test_report.py::test_a_page_is_opened_searched_and_measured",
}
"""Module → the test, FILE::FUNCTION, that runs it whole."""
OF_OTHERS = {
    ("apt-get", "install", "bubblewrap"),
    ("cd", "rl_reason"),
    ("git", "clone", "URL_OF_YOUR_COPY", "rl_reason"),
    ("mkdir", "-p", "checkpoints/assistant"),
    ("python3", "-m", "uv", "venv", "--python=3.11"),
    ("python3.11", "-m", "venv", ".venv"),
    ("wandb", "sync"),
}
EXTRAS = re.findall(r'^        "(\w+)": \[', (ROOT / "setup.py").read_text(), re.MULTILINE)


def test_there_are_many():
    assert len(FOUND) > 150 and len(set(FOUND.values())) > 30
    assert ("make", "demo") in FOUND and ("python", "-m", "rl_reason.compare", "runs/before", "runs/after") in FOUND
    assert ("python3", "-m", "uv", "pip", "install", "-r", "requirements.lock", "-e", ".[tpu]") in FOUND


@pytest.mark.parametrize("test", sorted(set(IN_EARNEST.values())))
def test_what_runs_them_whole_is_there(test):
    file, _, name = test.partition("::")
    body = ast.parse((ROOT / file).read_text()).body
    assert name in [node.name for node in body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]


@pytest.mark.parametrize("key, value", sorted({pair for page in PAGES for pair in assignments(page)}))
def test_lines_of_configs_fit(key, value):
    config = defaults()
    group, _, name = key.rpartition(".")
    place = functools.reduce(getattr, group.split("."), config) if group else config
    # As where the line stands: a key that is not there raises, and so does a value of another type.
    place[name] = ast.literal_eval(value)


@pytest.mark.parametrize("words", sorted(FOUND), ids=lambda words: " ".join(words)[:60])
def test_goes_as_far_as_it_can(words, run):
    run(words)


def test_the_example_of_a_pipeline_is_small_too(run, tmp_path):
    run(("python", "-m", "rl_reason.train", "--config=FILE"))
    run(("python", "-m", "rl_reason.train", f"--config={tmp_path}/written.py:tiny"))


def test_a_command_that_nobody_knows_is_a_failure(run):
    for line in ("make coffee", "python -m rl_reason.trian --config=X", "pip install -e .[tpus]", "curl it"):
        with pytest.raises((AssertionError, ModuleNotFoundError, KeyError)):
            run(tuple(line.split()))
    with pytest.raises(Exception, match="group_sise"):
        run(("python", "-m", "rl_reason.train", "--config=configs/grpo_math.py", "--config.algorithm.group_sise=2"))


@pytest.fixture
def run(tmp_path, monkeypatch, request) -> Callable[[Words], None]:
    """Takes one command as far as it goes."""
    monkeypatch.chdir(ROOT)
    there = Here(tmp_path, monkeypatch, request)

    def taken(words: Words) -> None:
        program, *rest = words
        if words in OF_OTHERS:
            return
        if program.startswith("--config."):  # Flags of a training command.
            return there.python("rl_reason.train", ["--config=configs/grpo_math.py", *words])
        if program.startswith("--search"):  # Flags of the command above it.
            base = ["--model=DIR", "--reward_model=DIR", "--data=aime24", "--dir=DATA"]
            return there.python("rl_reason.evaluate", [*base, *words])
        if program.startswith("rl-reason-"):
            return there.python(f"rl_reason.{program.removeprefix('rl-reason-')}", rest)
        if program == "make":
            done = subprocess.run(["make", "-n", *rest], capture_output=True, text=True)
            assert done.returncode == 0 and rest, done.stderr
        elif program == "pip" or rest[:2] in (["-m", "pip"], ["-m", "uv"]):
            install(rest[rest.index("install") + 1 :])
        elif program == "gcloud":
            assert rest[:4] in ([*"compute tpus tpu-vm".split(), verb] for verb in ("create", "ssh"))
            assert [word for word in rest[5:] if not re.fullmatch(r"--[\w-]+=\S+", word)] == []
        elif program == "cp":
            assert re.fullmatch(r"runs/\w+/export/\*", rest[0]) and (ROOT / rest[1]).is_dir()
        elif program == "sbatch":
            assert (ROOT / rest[-1]).is_file()
        elif rest[:1] == ["-c"]:
            compile(rest[1], "-c", "exec")
        elif program == ".ci/run":
            assert os.access(ROOT / program, os.X_OK) and not rest
        else:
            assert program in ("python", ".venv/bin/python") and rest[0] == "-m", f"who knows {' '.join(words)}?"
            there.python(rest[1], rest[2:])

    return taken


def install(words: Sequence[str]) -> None:
    """What pip would be asked for is something that there is."""
    waiting = list(words)
    assert waiting
    while waiting:
        word = waiting.pop(0)
        if word == "-r":
            assert (ROOT / waiting.pop(0)).is_file()
        elif word != "-e":
            ours = re.fullmatch(r"(?:\.|rl_reason)(?:\[(\w+)\])?", word)
            asked = Requirement(word) if not ours else None
            assert ours and (ours[1] in EXTRAS or not ours[1]) or asked and str(asked) in ("uv", "jax[tpu]"), word


class Here:
    """Commands of the package in this process."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest):
        self.folder, self.patch, self.request = folder, monkeypatch, request

    def python(self, module: str, arguments: list[str]) -> None:
        if module == "rl_reason.NAME":
            return
        if module == "pytest":
            assert all((ROOT / word).exists() for word in arguments if not word.startswith("-"))
            return
        assert module in IN_EARNEST or module.startswith(("experiments.", "benchmarks."))
        if not arguments and module.startswith("rl_reason."):  # Its name alone stands in a sentence.
            assert callable(importlib.import_module(module).main)
            return
        arguments = [re.sub("=N$", "=7", self.file_of(word)) for word in arguments]
        if module.startswith("rl_reason."):
            getattr(self, module.partition(".")[2])(arguments)
        else:
            self.of_repository(module, arguments)

    def file_of(self, word: str) -> str:
        """A flag for a config that stands in a page, or is any."""
        match = re.fullmatch(r"--config=(\w+(?:\.py)?)(:\w+)?", word)
        if not match:
            return word
        name, variant = match[1], match[2] or ""
        if name == "FILE" and variant:
            return f"--config=configs/grpo_math.py{variant}"
        page = ROOT / "docs" / ("pipelines.md" if name == "FILE" else "extending.md")
        title = "python" if name == "FILE" else f'python title="{name}"'
        (block, *_) = re.findall(rf"^```{title}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
        (self.folder / "written.py").write_text(block)
        # Which the page's file replaces, and the test's end takes out.
        self.patch.setitem(surrogates.SURROGATES, "tapered", None)
        return f"--config={self.folder}/written.py{variant}"

    def main(self, module: str, arguments: Sequence[str]) -> None:
        self.patch.setattr(sys, "argv", [module, *arguments])
        importlib.import_module(f"rl_reason.{module}").main()

    def train(self, arguments: list[str]) -> None:
        if any("alphageometry" in word for word in arguments) and not engine.is_installed():
            pytest.skip(f"not installed: {engine.PACKAGES}")
        if any(word.startswith("--config.log.wandb=") for word in arguments):
            pytest.importorskip("wandb")
        checked = []
        for name in recipes.RECIPES:
            check = pipeline.check if name == "pipeline" else OF_RECIPES[name]
            self.patch.setitem(recipes.RECIPES, name, lambda settings, _, check=check: checked.append(check(settings)))
        self.main("train", arguments)
        assert len(checked) == 1

    def plan(self, arguments: list[str]) -> None:
        from rl_reason import plan
        from rl_reason.recipes import planning

        checked = []
        self.patch.setattr(topologies, "prepare", lambda topology: None)
        self.patch.setattr(topologies, "devices", lambda topology: [])
        self.patch.setattr(
            planning, "plan", lambda settings, *_: {"checked": checked.append(OF_RECIPES[settings.recipe](settings))}
        )
        self.patch.setattr(plan, "_show", lambda report: None)
        self.main("plan", [re.sub("^--json=(?!/)", f"--json={self.folder}/", word) for word in arguments])
        assert len(checked) == 1

    def evaluate(self, arguments: list[str]) -> None:
        from rl_reason.recipes import evaluation_run

        asked: list[dict] = []
        self.patch.setattr(evaluation_run, "evaluate", asked.append)
        self.main("evaluate", arguments)
        (flags,) = asked
        known_data(flags["data"])
        assert flags["grader"] in ("auto", *REWARDS)
        if flags["template"]:
            find_template(flags["template"])

    def prove(self, arguments: list[str]) -> None:
        from rl_reason.recipes import proving

        asked: list[dict] = []
        self.patch.setattr(proving, "prove", asked.append)
        self.main("prove", arguments)
        known_data(asked[0]["data"])

    def generate(self, arguments: list[str]) -> None:
        from rl_reason.recipes import generation

        checked = []
        row = {"id": "a", "problem": "1 + 1 = ?", "answer": "2"}
        self.patch.setattr(sources, "load", lambda name, *_: known_data(name) or [row])
        self.patch.setattr(generation, "run", lambda settings, _: checked.append(OF_RECIPES["generate"](settings)))
        self.main("generate", arguments)
        assert len(checked) == 1

    def grade(self, arguments: list[str]) -> None:
        """The whole command, on a right and a wrong completion."""
        grader = arguments[0].removeprefix("--grader=")
        rows = [{"completion": f"The answer is {n}.", "answer": "12"} for n in (12, 13)]
        right = [1.0, 0.0]
        if grader == "code":
            self.request.getfixturevalue("isolation")
            asked = {"tests": "assert f(1) == 2\n", "entry_point": "f"}
            rows = [{"completion": f"def f(x):\n    return x + {n}\n"} | asked for n in (1, 2)]
        elif grader == "geometry":
            if not engine.is_installed():
                pytest.skip(f"not installed: {engine.PACKAGES}")
            medians = "a b c = triangle a b c; d = midpoint b c; e = midpoint a c; g = on_line a d, on_line b e;"
            problem = f"{medians} f = on_line c g, on_line a b ? midp f a b"
            rows = [{"problem": problem, "completion": added} for added in ("x = mirror a g", "x = midpoint d e")]
        elif grader == "mine:nearly":
            text = (ROOT / "docs" / "extending.md").read_text()
            blocks = re.findall(r'^```python title="mine\.py"\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)
            (self.folder / "mine.py").write_text("\n\n".join(blocks))
            self.patch.syspath_prepend(str(self.folder))
            self.patch.delitem(sys.modules, "mine", raising=False)
            rows = [{"completion": f"it is {n}", "answer": "200"} for n in (201, 203)]
        (self.folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        files = [f"--input={self.folder}/in.jsonl", f"--output={self.folder}/out.jsonl"]
        given = [word for word in arguments if not word.startswith(("--input=", "--output="))]
        assert len(given) == len(arguments) - 2
        self.main("grade", [*given, *files])
        graded = [json.loads(line) for line in (self.folder / "out.jsonl").read_text().splitlines()]
        assert [row["reward"] for row in graded] == right

    def contamination(self, arguments: list[str]) -> None:
        """The whole command, on a question that both sets have and one that they have not."""
        same = "How many apples are left when three of eight apples are eaten in the garden?"
        for name, other in (("train", "What is the sum of all whole numbers between one and ten?"), ("test", "Who?")):
            rows = [{"id": name + str(n), "problem": text, "answer": "5"} for n, text in enumerate((same, other))]
            (self.folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        names = {"--train": "train.jsonl", "--evaluation": "test.jsonl", "--output": "found.jsonl"}
        assert [word.partition("=")[0] for word in arguments] == list(names)
        self.main("contamination", [f"{flag}={self.folder}/{name}" for flag, name in names.items()])
        (found,) = (self.folder / "found.jsonl").read_text().splitlines()
        assert json.loads(found)["id"] == "train0"

    def compare(self, arguments: list[str]) -> None:
        assert len(arguments) == 2

    def report(self, arguments: list[str]) -> None:
        assert arguments and not arguments[0].startswith("-")

    def export(self, arguments: list[str]) -> None:
        from rl_reason import export

        parse_flags(arguments, export.FLAGS)

    def of_repository(self, module: str, arguments: list[str]) -> None:
        """Flags of an experiment or a benchmark; commands of paper size are printed."""
        found = importlib.import_module(f"{module}.__main__" if module == "benchmarks.peers" else module)
        if module == "experiments.run":
            names, flags = found.parse([next(iter(EXPERIMENTS)) if word == "NAME" else word for word in arguments])
            if flags["scale"] == "full":
                found.run_full(names, flags)
        elif module == "experiments.sweep":
            sweep = found.parse(arguments)
            assert len(sweep.points) > 1
        elif module == "experiments.diagnostics.faulty":
            fault, *flags = arguments
            assert fault in found.FAULTS
            self.train(flags)
        elif module == "benchmarks.move":
            from rl_reason.runtime.config import load

            load(arguments, found.FLAGS)
        elif arguments:
            parse_flags(arguments, found.FLAGS)
        else:
            assert callable(found.main)


def known_data(name: str) -> None:
    for one in name.split("+"):
        placeholder = one in ("NAME_OR_JSONL", "DATA")
        assert placeholder or one in sources.SOURCES or ":" in one or one.endswith((".jsonl", ".txt")), one
