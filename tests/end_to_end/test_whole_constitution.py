"""Constitutional AI from prompts to the policy, by one process and by two."""

from __future__ import annotations

import json

import pytest

from rl_reason.data.generated import read_shards
from tests.end_to_end.commands import read
from tests.end_to_end.test_resume import assert_same_run

pytestmark = pytest.mark.slow
STAGES = (
    "answers", "critique_1", "revision_1", "chosen", "tuned", "samples", "preferences", "preference_model", "policy",
)  # fmt: skip


def arguments(workdir, variant=""):
    config = "tests/end_to_end/small_constitution.py" + (f":{variant}" if variant else "")
    return ["rl_reason.train", f"--config={config}", f"--workdir={workdir}"]


@pytest.fixture(scope="module")
def one(commands, tmp_path_factory):
    """The folder of the run by one process of two devices."""
    folder = tmp_path_factory.mktemp("constitution") / "one"
    commands.succeed(arguments(folder), devices=2)
    return folder


def finished(run):
    file = run / "stages.json"
    return list(json.loads(file.read_text())) if file.exists() else []


def made(run):
    """What each stage says of prompts, and of which of two answers is better."""
    said = {name: list(read_shards(run / name)) for name in ("answers", "critique_1", "revision_1", "samples")}
    texts = {name: sorted((row["id"], row["sample"], row["completion"]) for row in rows) for name, rows in said.items()}
    return texts, read(run / "chosen" / "selected.jsonl"), read(run / "preferences" / "preferences.jsonl")


def test_two_processes_make_the_run_of_one(commands, one, tmp_path):
    assert finished(one) == list(STAGES)
    run = tmp_path / "two"
    ended = commands.run_together([arguments(run)] * 2, devices=1)
    assert [process.returncode for process in ended] == [0, 0], ended[0].stderr + ended[1].stderr
    assert finished(run) == list(STAGES)
    (texts, chosen, pairs), (texts_too, chosen_too, pairs_too) = made(one), made(run)
    assert texts == texts_too and chosen == chosen_too
    for a, b in zip(pairs, pairs_too, strict=True):
        assert b == a | {"share": pytest.approx(a["share"], abs=1e-5)}
    for stage in ("tuned", "preference_model", "policy"):
        assert_same_run(one / stage, run / stage, rel=1e-3, abs=1e-5)
