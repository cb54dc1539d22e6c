"""The commands of paper size are commands: each is taken from its flags to the checks of its settings, as those of the
documents are. Nothing is trained."""

import dataclasses
import json
import re
import shlex
from pathlib import Path

import pytest

from experiments import full, sweep
from experiments.ablations.run import CONFIG, arms
from experiments.catalogue import EXPERIMENTS, ROOT
from experiments.o1 import full as o1
from rl_reason.recipes.checks import reads
from rl_reason.runtime.config import load
from rl_reason.settings import Settings
from tests.documents.test_commands import run  # noqa: F401

AT_PAPER_SIZE = [name for name, one in EXPERIMENTS.items() if one.full]


@pytest.fixture
def pod(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    return full.Pod(str(tmp_path), 2, "DATA", "teacher")


def stages(config, *names):
    """What a pipeline leaves for the configs that begin where its stages did."""
    settings = load([f"--config={config}"], reads=reads).settings
    return {name: json.dumps(settings.stages[name]) for name in names}


@pytest.mark.parametrize("name", AT_PAPER_SIZE)
def test_each_is_taken_from_its_flags_to_its_checks(name, pod, run):  # noqa: F811
    pod = dataclasses.replace(pod, number=1)
    behind = {"r1": stages("configs/r1_math.py", "reasoning")} if name == "r1" else {}
    if name == "constitutional":
        behind = {name: stages("configs/constitutional.py", "preference_model", "policy")}
    for folder, left in behind.items():
        for seed in pod.seeds:
            for stage, config in left.items():
                run_folder = Path(pod.folder(folder, f"seed{seed}"))
                (run_folder / stage).mkdir(parents=True)
                (run_folder / stage / "config.json").write_text(config.replace("stage:", f"{run_folder}/"))
    commands = EXPERIMENTS[name].at_paper_size(pod)
    assert commands
    for command in commands:
        run(command)
        for word in command:
            if word.startswith("--workdir="):
                Path(word.partition("=")[2]).mkdir(parents=True, exist_ok=True)
        assert shlex.split(full.text(command)) == [*command]


@pytest.mark.parametrize("name", AT_PAPER_SIZE)
def test_no_two_write_the_same_folder(name, pod):
    written = [word for command in set(EXPERIMENTS[name].at_paper_size(pod)) for word in command
               if word.startswith(("--workdir=", "--output=")) and "--draw" not in command
               and "rl_reason.export" not in command]  # fmt: skip
    assert len(written) == len(set(written))


@pytest.mark.parametrize("name", AT_PAPER_SIZE)
def test_what_is_read_is_written_before(name, pod):
    """Folders below OUTPUT/full that a command reads are made by one above it."""
    made: list[str] = []
    for command in EXPERIMENTS[name].at_paper_size(pod):
        writes = ("--output=", "--json=") if "rl_reason.export" in command else ("--workdir=", "--output=", "--json=")
        for word in [word for word in command[3:] if not word.startswith(writes)]:
            for path in re.findall(rf"{re.escape(pod.output)}/full/[\w./-]+", word):
                assert any(path == one or path.startswith(f"{one}/") for one in made), (path, command)
        made += [word.partition("=")[2] for word in command if word.startswith(writes)]


def test_a_key_that_is_none_is_seen(pod, run):  # noqa: F811
    _, command = pod.shared("grpo_math", 0, {"algorithm.group_sise": 4})
    with pytest.raises(Exception, match="group_sise"):
        run(command)
    for wrong in (full.evaluate("DIR", "OUT", full.MATH, {"sample": 4}), full.python("rl_reason.prove", {"bean": 4})):
        with pytest.raises(Exception, match="unknown flag"):
            run(wrong)


def test_seeds_have_folders_of_their_own(pod):
    for name in ("methods", "r1", "lets_verify", "minerva"):
        trainings = [c for c in EXPERIMENTS[name].at_paper_size(pod) if c[2] == "rl_reason.train"]
        seeds = {word for command in trainings for word in command if word.startswith("--config.seed=")}
        assert seeds == {"--config.seed=0", "--config.seed=1"}


def test_the_sweep_changes_one_setting_of_the_config(pod):
    command, drawn = EXPERIMENTS["ablations"].at_paper_size(pod)
    asked = sweep.parse(command[3:])
    paper, tiny = arms(CONFIG.removesuffix(":tiny")), arms(CONFIG)
    assert [*paper] == [*tiny] and "--draw" in drawn
    base = sweep.settings_of(asked, paper["base"].changes, 0)
    assert base == load([f"--config={asked.config}"], reads=reads).settings
    for (name, arm), point in zip(paper.items(), asked.points, strict=True):
        assert point == arm.changes
        made, beside = (sweep.settings_of(asked, paper[key].changes, 0) for key in (name, arm.beside))
        one, other = (dataclasses.asdict(settings.algorithm) for settings in (made, beside))
        changed = {key for key in one if one[key] != other[key]}
        assert len(changed) == (name != "base") or changed == {"clip_low", "clip_high"}


def test_steps_of_o1_are_kept():
    policy = load([f"--config={ROOT / o1.CONFIG}"], reads=reads).settings.stages["policy"]
    policy = Settings.from_dict(policy)
    assert o1.STEPS[-1] == policy.steps and not any(step % policy.checkpoint.every for step in o1.STEPS)
