"""Made problems: which are held out, what a command that was stopped has left, and wrong settings."""

import itertools
import json

import pytest

from rl_reason.errors import RunError, UsageError
from rl_reason.geometry import engine
from rl_reason.geometry.statements import parse_statement
from rl_reason.geometry.writing import fingerprint
from rl_reason.recipes import synthesis
from rl_reason.recipes.checks.synthesis import check_synthesis
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.settings import Settings, Synthesis, defaults

TRIANGLE = "a b c = triangle a b c; d = {} d b c; e = midpoint e a d"
AUXILIARY = "f = mirror f e d"
GOALS = ("coll a d e", "para a b c e")


def figure(index):
    """As a worker gives it: two goals of one figure, of which there are two kinds; all others are these again."""
    text = TRIANGLE.format(("midpoint", "on_line")[index % 2])
    return {
        "problems": [(f"{text} ? {goal}", AUXILIARY) for goal in GOALS],
        "counts": {"tries": 2},
        "failures": ["of the engine's program"] if index == 3 else [],
    }


def fake(seed, index, least, most, seconds):
    if index == 5:
        raise ValueError("of the engine's own")
    return figure(index)


@pytest.fixture
def config(monkeypatch):
    made = defaults()
    made.recipe = "synthesis"
    made.synthesis.figures = 7
    made.synthesis.held_out = 1
    made.synthesis.workers = 1
    monkeypatch.setattr(synthesis, "MAKE", f"{__name__}:fake")
    monkeypatch.setattr("rl_reason.recipes.checks.synthesis.check_package", lambda key: None)
    return made


def ran(config, folder):
    synthesis.run(Settings.from_config(config), folder)
    return {file.name: file.read_text() for file in sorted(folder.iterdir())}


def test_duplicates_are_left_out_and_premises_stand_on_one_side(config, tmp_path):
    config.synthesis.writings = 3
    made = ran(config, tmp_path / "run")
    problems, held_out = (list(read_jsonl(tmp_path / "run" / name)) for name in ("problems.jsonl", "held_out.jsonl"))
    premises = [{fingerprint(parse_statement(row["problem"]).clauses) for row in rows} for rows in (problems, held_out)]
    assert len(premises[0]) == len(premises[1]) == 1 and premises[0] != premises[1]
    assert len(held_out) == 1 and 2 < len(problems) <= 6
    first = figure(0)["problems"] if held_out[0]["id"][0] == "1" else figure(1)["problems"]
    assert [(row["problem"], row["solution"]) for row in problems if "/" not in row["id"]] == first
    assert len({row["problem"] for row in problems}) == len(problems)
    assert all(row["answer"] == row["problem"].split(" ? ")[1] for row in (*problems, *held_out))
    counts = json.loads(made["synthesis.json"])
    some = {"duplicates": 8, "failures": 1, "tries": 12, "of held-out premises": 1}
    assert counts == some | {"premises": 2, "problems": 2, "reinforcement": 0, "held out": 1}
    assert made["reinforcement.jsonl"] == ""


def test_failures_of_the_engine_are_listed(config, tmp_path, capsys):
    ran(config, tmp_path / "run")
    rows = list(read_jsonl(tmp_path / "run" / "failures.jsonl"))
    reasons = ["of the engine's program", "ValueError: of the engine's own"]
    assert [row["reason"] for row in rows] == reasons
    # With which `make_problems` makes these figures again.
    assert [row["call"] for row in rows] == [[0, index, *Synthesis.clauses, Synthesis.timeout] for index in (3, 5)]
    assert f"2 failures of the engine: listed in {tmp_path}/run/failures.jsonl" in capsys.readouterr().out
    config.synthesis.figures = 3
    assert "failures.jsonl" not in ran(config, tmp_path / "none")


@pytest.mark.parametrize("share, expected", [(0.0, 0), (0.34, 2), (0.5, 4), (0.75, 6)])
def test_premises_of_reinforcement_are_no_others(config, share, expected):
    """Eight premises beside the two that are held out, each with two problems."""
    config.synthesis.update(held_out=2, reinforcement=share, writings=3)
    records = []
    for count in range(10):
        pairs = itertools.pairwise("efghijklmno"[: count + 1])
        chain = "".join(f"; {new} = midpoint {new} a {old}" for old, new in pairs)
        goals = [(f"{TRIANGLE.format('midpoint')}{chain} ? {goal}", "z = mirror z e d") for goal in GOALS]
        records.append({"id": str(count), "problems": goals, "counts": {}})
    files, counts = synthesis.divide(records, Settings.from_config(config).synthesis, 0)
    of_file = {
        name: {fingerprint(parse_statement(row["problem"]).clauses) for row in rows} for name, rows in files.items()
    }
    assert len(of_file["held_out.jsonl"]) == 2 and len(of_file["reinforcement.jsonl"]) == expected
    assert sum(map(len, of_file.values())) == len(set.union(*of_file.values())) == 10
    # Each has other writings beside it.
    assert counts["reinforcement"] == 2 * expected and counts["problems"] == 2 * (8 - expected)
    assert all(len(files[f"{name}.jsonl"]) > counts[name] for name in ("problems", "reinforcement") if counts[name])


def test_a_command_that_was_stopped_goes_on(config, tmp_path):
    whole = ran(config, tmp_path / "whole")
    ran(config, tmp_path / "run")
    records = (tmp_path / "run" / "figures.jsonl").read_bytes()
    kept = records.split(b"\n")[0].replace(b'"tries": 2', b'"tries": 3')
    (tmp_path / "run" / "figures.jsonl").write_bytes(kept + b"\n" + records.split(b"\n")[1][:20])
    again = ran(config, tmp_path / "run")
    assert json.loads(again["synthesis.json"]) == json.loads(whole["synthesis.json"]) | {"tries": 13}
    assert again["figures.jsonl"].count("\n") == 7 and again["problems.jsonl"] == whole["problems.jsonl"]


def test_more_figures_and_another_division_go_on_with_what_was_searched(config, tmp_path):
    config.synthesis.figures = 4
    ran(config, tmp_path / "run")
    records = (tmp_path / "run" / "figures.jsonl").read_text()
    (tmp_path / "run" / "figures.jsonl").write_text(records.replace('"tries": 2', '"tries": 3'))
    config.synthesis.figures, config.synthesis.held_out, config.synthesis.writings = 7, 0, 2
    more, whole = ran(config, tmp_path / "run"), ran(config, tmp_path / "whole")
    assert all(more[name] == whole[name] for name in ("problems.jsonl", "held_out.jsonl"))
    # The first four were not searched again.
    assert json.loads(more["synthesis.json"])["tries"] == json.loads(whole["synthesis.json"])["tries"] + 4
    config.synthesis.figures = 6
    with pytest.raises(UsageError, match="config.synthesis.figures=6: .* has 7; expected at least so many"):
        ran(config, tmp_path / "run")


def test_nothing_left_to_be_trained_on(config, tmp_path):
    config.synthesis.held_out = 3
    with pytest.raises(RunError, match="no problem is left to be trained on with .*held_out=3"):
        ran(config, tmp_path / "run")


@pytest.mark.parametrize("key, value, told", [
    ("synthesis.figures", 0, "config.synthesis.figures=0: expected at least 1"),
    ("synthesis.held_out", -1, "config.synthesis.held_out=-1: expected at least 0"),
    ("synthesis.reinforcement", 1.0, "config.synthesis.reinforcement=1.0: expected a share, from 0 to below 1"),
    ("synthesis.reinforcement", -0.1, "config.synthesis.reinforcement=-0.1: expected a share"),
    ("synthesis.writings", 0, "config.synthesis.writings=0: expected at least 1"),
    ("synthesis.workers", -1, "config.synthesis.workers=-1: expected at least 0"),
    ("synthesis.timeout", 0.0, "config.synthesis.timeout=0.0: expected more than 0 seconds"),
    ("synthesis.clauses", (5, 4), r"config.synthesis.clauses=\(5, 4\): expected \(least, most\)"),
    ("synthesis.clauses", (5,), r"config.synthesis.clauses=\(5,\): expected"),
    ("synthesis.clauses", (2, 99), r"config.synthesis.clauses=\(2, 99\): expected"),
    ("data.name", "gsm8k", "config.data.name='gsm8k': is not read where problems are made of random figures"),
    ("steps", 3, "config.steps=3: is not read"),
])  # fmt: skip
def test_wrong_settings(config, key, value, told):
    config.update_from_flattened_dict({key: value})
    with pytest.raises(UsageError, match=told):
        check_synthesis(Settings.from_config(config))


def test_without_the_engine(monkeypatch):
    monkeypatch.setattr(engine, "PACKAGES", {"no-such-package": "1"})
    with pytest.raises(UsageError, match="config.recipe='synthesis': needs the package no-such-package; expected pip"):
        check_synthesis(Settings(recipe="synthesis"))


def test_no_one_else_reads_its_keys():
    from rl_reason.recipes.checks import OF_RECIPES

    for recipe in ("clean", "feedback", "generate", "policy_gradient", "select", "supervised"):
        settings = Settings(recipe=recipe, synthesis=Synthesis(writings=2))
        with pytest.raises(UsageError):
            OF_RECIPES[recipe](settings)
