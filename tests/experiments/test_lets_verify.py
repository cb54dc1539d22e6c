"""The commands of the experiment, none of which is run."""

from __future__ import annotations

from experiments.lets_verify import run


def test_each_part_has_a_folder_of_its_own(monkeypatch, tmp_path):
    trained, evaluated = [], []
    monkeypatch.setattr(run, "train", lambda config, seed, folder, flags: trained.append(str(folder)))
    monkeypatch.setattr(run, "call", lambda command, made: evaluated.append(command))
    run.run_seed(tmp_path, 3, 5)
    outputs = [flag.removeprefix("--output=") for command in evaluated for flag in command if "--output=" in flag]
    assert len({*trained, *outputs}) == len(trained) + len(outputs) == 6
    judges = {flag.removeprefix("--reward_model=") for command in evaluated for flag in command if "_model=" in flag}
    assert {judge.removesuffix("/export") for judge in judges} < set(trained)
