"""A run's folder: made, accepted again, or refused without a change."""

import json
import os

import pytest

from rl_reason.errors import UsageError
from rl_reason.runtime.workdir import find_workdir, make_workdir, write_atomic

CONFIG = {"seed": 0, "steps": 10, "algorithm": {"kl_coef": 0.04, "names": ("a", "b")}, "checkpoint": {"every": 5}}


def open_workdir(path, config):
    """As a run does."""
    workdir = find_workdir(path, config)
    make_workdir(workdir, config)
    return workdir


def changed(**keys):
    return CONFIG | keys


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_makes_folder_with_config(tmp_path):
    workdir = open_workdir(tmp_path / "a" / "b", CONFIG)
    assert json.loads(workdir.config.read_text())["algorithm"] == {"kl_coef": 0.04, "names": ["a", "b"]}
    assert [entry.name for entry in workdir.path.iterdir()] == ["config.json"]


def test_same_config_is_accepted_again(tmp_path):
    open_workdir(tmp_path / "run", CONFIG)
    (tmp_path / "run" / "metrics.jsonl").write_text("kept")
    before = contents(tmp_path)
    open_workdir(tmp_path / "run", CONFIG)
    assert contents(tmp_path) == before


def test_other_length_of_run_is_accepted_and_written(tmp_path):
    open_workdir(tmp_path, CONFIG)
    workdir = open_workdir(tmp_path, changed(steps=20, checkpoint={"every": 1}, log={"every": 3}))
    assert json.loads(workdir.config.read_text())["steps"] == 20


@pytest.mark.parametrize(
    "config, key, there, here",
    [
        (changed(seed=1), "config.seed", "0", "1"),
        (changed(algorithm={"kl_coef": 0.0, "names": ["a", "b"]}), "config.algorithm.kl_coef", "0.04", "0.0"),
        (changed(algorithm={"kl_coef": 0.04, "names": ["a"]}), "config.algorithm.names", '["a", "b"]', '["a"]'),
        (changed(extra={"new": True}), "config.extra.new", "(absent)", "true"),
        ({k: v for k, v in CONFIG.items() if k != "seed"}, "config.seed", "0", "(absent)"),
        (changed(seed=False), "config.seed", "0", "false"),
    ],
)
def test_other_config_is_refused_in_one_line_and_nothing_changes(tmp_path, config, key, there, here):
    folder = tmp_path / "run"
    open_workdir(folder, CONFIG)
    before = contents(tmp_path)
    with pytest.raises(UsageError) as error:
        open_workdir(folder, config)
    message = str(error.value)
    assert "\n" not in message and str(folder) in message
    assert f"{key} is {there} there and {here} here" in message
    assert contents(tmp_path) == before


def test_folder_with_files_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    before = contents(tmp_path)
    with pytest.raises(UsageError, match="thesis.tex"):
        open_workdir(tmp_path, CONFIG)
    assert contents(tmp_path) == before


def test_file_and_damaged_config_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="found a file"):
        open_workdir(tmp_path / "file", CONFIG)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text('{"seed": 0')
    with pytest.raises(UsageError, match="expected JSON"):
        open_workdir(tmp_path / "run", CONFIG)


def test_address_is_refused():
    with pytest.raises(UsageError, match="expected a folder of a mounted file system"):
        find_workdir("gs://bucket/run", CONFIG)


def test_folder_left_by_a_kill_during_the_first_write_is_usable(tmp_path):
    (tmp_path / ".config.json.123.tmp").write_text('{"se')
    assert open_workdir(tmp_path, CONFIG).config.exists()


def test_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "config.json"
    write_atomic(path, "old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, "new")
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1
