"""Sweeps: which runs a command line asks for, and the table of what they have shown."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import sweep
from rl_reason.errors import UsageError
from tests.end_to_end.commands import read

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "--config=configs/grpo_math.py:tiny"


@pytest.fixture(autouse=True)
def root(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_a_grid_is_all_pairs():
    made = sweep.parse([CONFIG, "--grid", "config.algorithm.group_size=4,8", "--config.steps=3", "--seeds=2",
                        "--grid=config.reward.weights=(1.0,0.1),(1.0,0.0)", "--output=there"])
    assert made.points == [
        {"algorithm.group_size": size, "reward.weights": weights}
        for size in ("4", "8") for weights in ("(1.0,0.1)", "(1.0,0.0)")
    ]
    assert made.common == ["--config.steps=3"]
    folders = [folder for _, _, folder in made.runs()]
    assert len(set(folders)) == 8 and all(folder.parts[0] == "there" for folder in folders)
    assert folders[1].name == "seed1" and "group_size=4" in folders[1].parent.name


def test_points_are_the_named_ones():
    made = sweep.parse([CONFIG, "--point", "config.algorithm.group_size=4 config.steps=2", "--point=config.steps=5"])
    assert made.points == [{"algorithm.group_size": "4", "steps": "2"}, {"steps": "5"}]
    assert [seed for _, seed, _ in made.runs()] == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("flags, parts", [
    ([], ("--grid", "--point")),
    (["--grid=algorithm.group_size=4"], ("algorithm.group_size=4", "config.KEY=A,B,C")),
    (["--grid=config.algorithm.group_sizes=4,8"], ("algorithm.group_sizes", "group_size")),
    (["--grid=config.algorithm.group_size=4,many"], ("algorithm.group_size", "'many'", "int")),
    (["--grid=config.seed=1,2"], ("config.seed", "--seeds")),
    (["--grid=config.steps=1,1"], ("steps=1", "twice")),
    (["--grid=config.steps=1", "--grid=config.steps=2"], ("config.steps", "once")),
    (["--point=config.steps=1", "--grid=config.steps=2"], ("--grid", "one of the two")),
    (["--point=config.steps"], ("config.steps", "KEY=VALUE")),
    (["--point=config.data.name='a"], ("config.data.name='a", "KEY=VALUE")),
    (["--grid=config.steps=1", "--seeds=0"], ("--seeds=0",)),
    (["--grid=config.steps=1", "--together=0"], ("--together=0",)),
    (["--grid=config.steps=1,2", "--together=4", "--seeds=1"], ("--together=4", "learning_rate", "--seeds=1")),
    (["--grid=config.sampling.ahead=0,1", "--together=4"], ("config.sampling.ahead=1", "default 0")),
])  # fmt: skip
def test_what_is_wrong_is_told_before_the_first_run(flags, parts):
    with pytest.raises(UsageError) as error:
        sweep.parse([CONFIG, *flags])
    for part in parts:
        assert part in str(error.value)


def test_folders_of_long_and_strange_values_stay_apart():
    names = {sweep.folder_name({"data.name": f"/a/{'b' * 200}/{end}"}) for end in "xy"}
    assert len(names) == 2 and all(len(name) < 120 and "/" not in name for name in names)


def test_the_table(tmp_path):
    """A row for each number of each evaluation; the last evaluation is what is printed."""
    for size in (4, 8):
        for seed in (0, 1):
            folder = tmp_path / f"group_size={size}" / f"seed{seed}"
            folder.mkdir(parents=True)
            shares = {0: 0.1, 5: size / 10 + seed / 50}
            records = [{"step": step, "dataset": "made", "n": 10, "pass@1": share, "pass@1_ci95": [0.0, 1.0]}
                       for step, share in shares.items()]
            (folder / "eval.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    command = [sys.executable, "-m", "experiments.sweep", CONFIG, "--grid=config.algorithm.group_size=4,8",
               "--seeds=2", f"--output={tmp_path}", "--draw"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "41.0 ± 12.7" in done.stdout and "81.0 ± 12.7" in done.stdout
    with open(tmp_path / "sweep.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["algorithm.group_size", "seed", "step", "dataset", "measure", "value", "low", "high"]
    assert len(rows) == 2 * 2 * 2 * 2
    (last,) = [row for row in rows if (row["algorithm.group_size"], row["seed"], row["step"], row["measure"])
               == ("8", "1", "5", "pass@1")]
    assert (round(float(last["value"]), 9), last["low"], last["high"]) == (0.82, "0.0", "1.0")
    done = subprocess.run([*command, "--seeds=3"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "seed2" in done.stderr


def test_points_are_trained_each_by_itself(commands, tmp_path):
    _, config, model, _, *flags = commands.grpo(tmp_path)
    done = commands.succeed(["experiments.sweep", config, model, *flags, "--config.steps=1", "--seeds=1",
                             "--grid=config.algorithm.learning_rate=1e-3,3e-3", f"--output={tmp_path}"])  # fmt: skip
    rates = ("1e-3", "3e-3")
    for place, rate in enumerate(rates, 1):
        folder = tmp_path / f"learning_rate={rate}" / "seed0"
        assert f"run {place} of 2: algorithm.learning_rate={rate}, seed 0" in done.stdout
        assert json.loads((folder / "config.json").read_text())["algorithm"]["learning_rate"] == float(rate)
        assert [row["step"] for row in read(folder / "metrics.jsonl")] == [1]
    assert len((tmp_path / "commands.txt").read_text().splitlines()) == 2
    with open(tmp_path / "sweep.csv", newline="") as file:
        found = {(row["algorithm.learning_rate"], row["step"]) for row in csv.DictReader(file)}
    assert found == {(rate, step) for rate in rates for step in "01"}
