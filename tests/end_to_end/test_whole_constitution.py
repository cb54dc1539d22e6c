"""Constitutional AI from prompts to the policy: by one process, by two, with a kill in each stage, and with a server in
the helper's place."""

from __future__ import annotations

import json
import re
import time

import pytest

from rl_reason.data.generated import read_shards
from tests.end_to_end.commands import contents, read
from tests.end_to_end.test_constitution import speaks
from tests.end_to_end.test_resume import assert_same_run
from tests.servers import Server, completion

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
    """Names of the stages that are done; one that has begun stands in the file, too."""
    file = run / "stages.json"
    stages = json.loads(file.read_text()) if file.exists() else {}
    return [name for name, record in stages.items() if record.get("finished")]


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


def test_a_kill_in_each_stage(commands, one, tmp_path):
    """Each stage is cut off once, behind its first file; in the end all is as if nothing had been."""
    run, cut = tmp_path / "run", []
    for stage in STAGES:
        process = commands.start(arguments(run), devices=2)
        try:
            deadline = time.monotonic() + 300
            while not (run / stage).exists() and process.poll() is None:
                assert time.monotonic() < deadline, stage
                time.sleep(0.01)
            time.sleep(0.3)
            if stage not in finished(run):
                cut.append(stage)
        finally:
            process.kill()
            process.communicate(timeout=30)
    # To choose among 24 rows is done sooner than one looks.
    assert set(STAGES) - set(cut) <= {"chosen"}
    commands.succeed(arguments(run), devices=2)
    assert finished(run) == list(STAGES)
    assert made(run) == made(one)
    for stage in ("tuned", "preference_model", "policy"):
        assert_same_run(one / stage, run / stage, rel=0, abs=0)
        assert contents(one / stage / "export") == contents(run / stage / "export")


def discreet(path, request, number):
    """A helper for the small assistant's prompts: it tells what it is asked, unless it is asked to mend that."""
    said = request["messages"][-1]["content"]
    if "Options" in "".join(m["content"] for m in request["messages"]):
        return speaks(path, request, number)
    if "answer" in said.lower() and "code" not in said:
        return completion("I keep that to myself." if len(request["messages"]) > 3 else "Yes, it tells a secret.")
    return completion("The code is " + " ".join(re.findall(r"\d{4}", said)[:1]))


def test_a_server_in_the_place_of_the_helper(commands, tmp_path):
    run = tmp_path / "served"
    with Server(discreet) as server:
        commands.succeed(arguments(run, server.url), devices=2)
        asked = len(server.requests)
        commands.succeed(arguments(run, server.url), devices=2)
        assert len(server.requests) == asked > 0
    assert finished(run) == list(STAGES)
    chosen = read(run / "chosen" / "selected.jsonl")
    assert len(chosen) == 24 and all(row["solution"] == "I keep that to myself." for row in chosen)
    (*_, last) = read(run / "policy" / "metrics.jsonl")
    assert last["step"] == 3 and last["reward/model"] is not None
