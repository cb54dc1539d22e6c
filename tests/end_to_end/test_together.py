"""A sweep of runs that are computed together: each is the run that it would be by itself."""

import csv
import json

import pytest

from tests.end_to_end.commands import read

MEASURED = ("time/", "memory/", "tokens/s", "compilations", "mfu")
"""What depends on the machine, not on the run."""


@pytest.fixture(scope="module")
def swept(commands, tmp_path_factory):
    """Four runs; the third one is `finished_run`."""
    output = tmp_path_factory.mktemp("swept")
    _, config, model, _, *flags = commands.grpo(output)
    done = commands.succeed(
        ["experiments.sweep", config, model, *flags, "--together=4", "--seeds=2", f"--output={output}",
         "--point=config.algorithm.learning_rate=3e-3 config.algorithm.kl_coef=0.3 config.sampling.temperature=0.8",
         "--point=config.algorithm.learning_rate=1e-3"]
    )  # fmt: skip
    assert "4 runs together" in done.stdout
    return output


def test_each_is_the_run_that_it_is_alone(swept, finished_run):
    """The first three steps: later ones may differ by what rounding does to a draw."""
    member = swept / "learning_rate=1e-3" / "seed0"
    assert json.loads((member / "config.json").read_text()) == json.loads((finished_run / "config.json").read_text())
    for file in ("samples.jsonl", "eval.jsonl", "metrics.jsonl"):
        made, expected = ([row for row in read(run / file) if row["step"] <= 3] for run in (member, finished_run))
        assert len(made) == len(expected) > 0
        for row, wanted in zip(made, expected, strict=True):
            assert row.keys() == wanted.keys()
            for name, value in wanted.items():
                if not name.startswith(MEASURED):
                    near = pytest.approx(value, rel=1e-3, abs=2e-5) if isinstance(value, float) else value
                    assert row[name] == near, (file, row["step"], name)


def test_members_differ_and_stand_in_the_table(swept):
    losses = {tuple(row["loss"] for row in read(file)) for file in swept.glob("*/*/metrics.jsonl")}
    assert len(losses) == 4
    with open(swept / "sweep.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    runs = {(row["algorithm.learning_rate"], row["algorithm.kl_coef"], row["seed"]) for row in rows}
    assert runs == {(rate, kl, seed) for rate, kl in (("1e-3", ""), ("3e-3", "0.3")) for seed in "01"}
    assert all((folder / "report.html").exists() for folder in swept.glob("*/seed*"))
