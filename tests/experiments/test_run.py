"""Which commands `experiments.run` starts, and what of them is kept."""

import dataclasses
import json
import re
import shlex
import sys

import pytest

from experiments import catalogue, results, run
from experiments.catalogue import EXPERIMENTS
from rl_reason.errors import RunError, UsageError


@pytest.fixture
def started(monkeypatch, tmp_path):
    """The commands that would have been started; each writes its experiment's results, unless it is to fail."""
    made: list[list[str]] = []
    failing: set[str] = set()

    def call(command):
        made.append([str(word) for word in command])
        module = command[2].split(".")[1]
        if module in failing:
            return False
        folders = [word.partition("=")[2] for word in command if word.startswith("--output=")]
        for folder in folders:
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        return True

    monkeypatch.setattr(run, "_call", call)
    monkeypatch.setattr(results, "FILE", tmp_path / "RESULTS.md")
    monkeypatch.setattr(results.rebuild, "__defaults__", (tmp_path / "RESULTS.md",))
    call.made, call.failing = made, failing
    return call


def ask(*words: str) -> None:
    names, flags = run.parse(words)
    (run.run_full if flags["scale"] == "full" else run.run_tiny)(names, flags)


def documented(folder: str) -> list[set[str]]:
    """The commands of an experiment's README, as sets of words, without where it writes to and what the user names."""
    text = (catalogue.HERE / folder / "README.md").read_text().replace("\\\n", " ")
    lines = [re.sub(r"\s+#.*", "", line) for line in re.findall(r"^ {4}python (-m experiments\..*)", text, re.M)]
    return [words_of(shlex.split(re.sub(r"\[.*?--speed\]", "--speed", line))) for line in lines]


def words_of(command: list[str]) -> set[str]:
    named = ("--output", "--data", "--dir", "--harness")
    words = [word for word in command if not word.startswith("[") and not word.endswith("]")]
    return {word.partition("=")[0] if word.startswith(named) else word for word in words} - {"--output"}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_commands_are_those_of_the_readme(name, tmp_path):
    command = EXPERIMENTS[name].command(name, tmp_path, "DATA", {"harness": "OTHER/bin/python"})
    assert words_of(command) in documented(EXPERIMENTS[name].folder)


def test_one_after_another_and_on_after_a_failure(started, tmp_path, capsys):
    started.failing.add("methods")
    with pytest.raises(RunError, match="failed: methods; the same command goes on"):
        ask("methods", "r1", f"--output={tmp_path}")
    modules = [command[2] for command in started.made]
    assert modules == ["experiments.methods.run", "experiments.r1.run"]
    assert started.made[1] == [sys.executable, "-m", "experiments.r1.run", "--seeds=1", f"--output={tmp_path}/r1"]
    assert (tmp_path / "RESULTS.md").read_text() == results.build()


def test_all_leaves_out_what_needs_more_and_says_so(started, tmp_path, capsys):
    ask("--all", f"--output={tmp_path}")
    done = {command[2].split(".")[1] for command in started.made}
    assert not done & {"graders", "graders_code", "harness_agreement"} and {"methods", "o1", "minerva"} <= done
    told = capsys.readouterr().out
    assert "Not run: graders_code; it needs --data=DIR\n" in told
    assert "Not run: harness_agreement; it needs --data=DIR, --harness=a Python that has lm_eval\n" in told
    started.made.clear()
    ask("--all", f"--output={tmp_path}", "--data=there", "--harness=other/python")
    commands = {command[2]: command[3:] for command in started.made}
    assert "--dir=there/math" in commands["experiments.harness_agreement.run"]
    assert {"--speed", "--dir=there"} <= {*commands["experiments.graders.run"]}


def test_kept_results_change_with_publish_only(started, tmp_path, monkeypatch):
    kept = tmp_path / "kept"
    (kept / "grpo_tiny").mkdir(parents=True)
    there = EXPERIMENTS["grpo_tiny"].file.read_text()
    monkeypatch.setattr(catalogue, "HERE", kept)
    folder = tmp_path / "runs" / "grpo_tiny"
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(there)
    (folder / "curve.png").write_bytes(b"png")
    ask("grpo_tiny", f"--output={tmp_path}/runs")
    assert not [*(kept / "grpo_tiny").iterdir()]
    ask("grpo_tiny", f"--output={tmp_path}/runs", "--publish")
    assert {file.name for file in (kept / "grpo_tiny").iterdir()} == {"results.json", "curve.png"}
    assert (kept / "grpo_tiny" / "results.json").read_text() == there
    assert "## [GRPO on the laptop]" in (tmp_path / "RESULTS.md").read_text()
    (folder / "results.json").write_text("[{}]")
    with pytest.raises(UsageError, match="expected the results of grpo_tiny"):
        ask("grpo_tiny", f"--output={tmp_path}/runs", "--publish")
    assert (kept / "grpo_tiny" / "results.json").read_text() == there


def test_commands_of_paper_size_are_printed_once_each(started, capsys):
    ask("--all", "--scale=full", "--output=/pod")
    told = capsys.readouterr().out.splitlines()
    lines = [line for line in told if not line.startswith("#")]
    assert len(lines) == len(set(lines)) and not started.made
    train = "python -m rl_reason.train --config=configs/grpo_math.py --config.seed=0"
    assert f"{train} --workdir=/pod/full/grpo_math/seed0" in lines
    assert not [line for line in lines if ":tiny" in line]
    assert any(line.startswith("# test_time_scaling: 2") and line.endswith("2 of those above") for line in told)
    assert "# graders: its command is the same at either scale" in told
    ask("grpo_tiny", "--scale=full", "--output=/pod", "--seeds=2")
    assert f"{train[:-1]}1 --workdir=/pod/full/grpo_math/seed1" in capsys.readouterr().out


def test_what_there_is_and_how_long_it_takes(started, tmp_path, capsys):
    names, flags = run.parse([])
    assert names == [] and not flags["rebuild"]
    run.show()
    listed = capsys.readouterr().out
    assert all(f" {name} " in listed for name in EXPERIMENTS)
    kept = [one["seconds"] for one in json.loads(EXPERIMENTS["wizardmath"].file.read_text())]
    of_seed = round(sum(kept) / 3 / 60)
    assert EXPERIMENTS["wizardmath"].duration() == f"about {of_seed} minutes a seed, {3 * of_seed} for 3"
    ask("wizardmath", "--seeds=1", f"--output={tmp_path}")
    told = capsys.readouterr().out
    assert f"1 of 1, about {of_seed} minutes a seed, {of_seed} for 1: python -m experiments.wizardmath.run" in told
    assert started.made[0][3] == "--seeds=1"


@pytest.mark.parametrize(("minutes", "asked", "run_seeds"), [(7, [], 3), (14, [], 2), (29, [], 1), (51, [], 1),
                                                             (51, ["--seeds=4"], 4), (None, [], 3)])
def test_half_an_hour_is_not_gone_beyond(minutes, asked, run_seeds, started, tmp_path, monkeypatch, capsys):
    """Unless more seeds are asked for, or a single one takes longer."""
    one = dataclasses.replace(EXPERIMENTS["minerva"], minutes=minutes)
    monkeypatch.setitem(EXPERIMENTS, "minerva", one)
    ask("minerva", f"--output={tmp_path}", *asked)
    assert f"--seeds={run_seeds}" in started.made[0]
    left_out = f"{3 - run_seeds} of its 3 seeds are left out, to stay within 30 minutes; --seeds=3 runs them too"
    assert (left_out in capsys.readouterr().out) == (run_seeds < 3)


def test_all_seeds_are_run_for_what_is_kept(started, tmp_path, monkeypatch):
    monkeypatch.setitem(EXPERIMENTS, "minerva", dataclasses.replace(EXPERIMENTS["minerva"], minutes=20))
    monkeypatch.setattr(run.results, "publish", lambda name, output: [])
    ask("minerva", f"--output={tmp_path}", "--publish")
    assert "--seeds=3" in started.made[0]


def test_paper_size_is_started_where_nothing_is_left_to_be_named(started, tmp_path, capsys):
    with pytest.raises(UsageError, match="DATA stands there; expected --data=VALUE"):
        ask("r1", "--scale=full", "--start")
    assert not started.made
    ask("r1", "--scale=full", "--start", "--data=/my data")
    command, *others = started.made
    assert command[:4] == [sys.executable, "-m", "rl_reason.train", "--config=configs/r1_math.py"]
    assert "--config.stages.*.data.dir=/my data" in command and "--dir=/my data" in others[-1]


@pytest.mark.parametrize(
    "words, message",
    [
        (["metods"], "'metods': is no experiment; did you mean 'methods'"),
        (["--seeds=1"], "expected one of the three"),
        (["r1", "--seeds=1", "--publish"], "--seeds=1: expected at least 3 with --publish"),
        (["r1", "--seeds=-1"], "--seeds=-1: expected at least 1"),
        (["methods", "--all"], "expected one of the three"),
        (["methods", "--scale=huge"], "--scale=huge: expected tiny or full"),
        (["methods", "--start"], "--start=True: is not read with --scale=tiny"),
        (["r1", "--scale=full", "--publish"], "--publish=True: is not read with --scale=full"),
        (["--rebuild", "--publish"], "--publish=True: is not read with --rebuild"),
        (["--all", "methods"], "unexpected argument"),
    ],
)
def test_wrong_usage(words, message):
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        run.parse(words)
    assert "\n" not in str(caught.value)


def test_what_a_named_experiment_lacks_is_wrong_usage(started):
    with pytest.raises(UsageError, match="graders_code: expected --data=DIR"):
        ask("graders_code")
    assert not started.made
