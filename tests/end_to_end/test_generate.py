"""`rl_reason.generate` with a model and with servers that answer, refuse, break down and talk nonsense."""

from __future__ import annotations

import functools
import json
import re
import sys
import time

import jax
import pytest

from rl_reason import generate, train
from rl_reason.data.generated import read_shards
from rl_reason.errors import run_command
from rl_reason.parallel.mesh import make_mesh
from rl_reason.recipes import collecting, generation
from rl_reason.runtime import endpoint
from tests.end_to_end.commands import HERE, contents, read
from tests.servers import KEY, Server, completion

COUNT, SAMPLES = 6, 4
QUESTIONS = [{"id": f"q{i}", "problem": f"What is {i} + {i}?", "answer": str(2 * i)} for i in range(COUNT)]


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.setattr(endpoint, "FIRST_PAUSE", 0.01)
    monkeypatch.syspath_prepend(HERE)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    file = tmp_path_factory.mktemp("data") / "questions.jsonl"
    rows = [question | ({"language": "en"} if i == 0 else {}) for i, question in enumerate(QUESTIONS)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def solves(path, request, number):
    """A model that is right for even seeds; of the same request it always says the same."""
    a, b = map(int, re.search(r"(\d+) \+ (\d+)", request["messages"][0]["content"]).groups())
    return completion(f"{a} and {b}, by seed {request['seed']}: \\boxed{{{a + b + request['seed'] % 2}}}")


def flags_of(data, output, server, **changes):
    values = {"data": data, "output": output, "endpoint": server.url, "endpoint_model": "teacher", "tries": 2}
    values |= {"samples": SAMPLES, "max_tokens": 50, "seed": 3, "timeout": 10, "shard_size": 9} | changes
    return [f"--{name}={value}" for name, value in values.items() if value is not None]


@pytest.fixture
def command(monkeypatch, capfd):
    """Runs the command in this process: (exit status, what it printed, its errors)."""

    def run(flags, main=generate.main):
        monkeypatch.setattr(sys, "argv", ["command", *map(str, flags)])
        capfd.readouterr()
        status = 0
        try:
            run_command(main)
        except SystemExit as ended:
            status = ended.code
        return status, *capfd.readouterr()

    return run


def test_samples_of_a_server(command, data, tmp_path, monkeypatch):
    monkeypatch.setenv("TEACHERS_KEY", KEY)
    output = tmp_path / "made"
    with Server(solves) as server:
        status, told, shown = command(
            flags_of(data, output, server, key_variable="TEACHERS_KEY", format="array_record")
        )
        assert status == 0, shown
        assert all(headers["Authorization"] == f"Bearer {KEY}" for headers in server.headers)
        assert server.most_at_once <= 8
    made, description = list(read_shards(output)), json.loads((output / "generation.json").read_text())
    assert [(row["id"], row["sample"]) for row in made] == [(f"q{i}", k) for i in range(COUNT) for k in range(SAMPLES)]
    seeds = [int(re.search(r"seed (\d+)", row["completion"])[1]) for row in made]
    assert len(set(seeds)) == len(seeds)
    for row, seed in zip(made, seeds, strict=True):
        assert row["correct"] == (seed % 2 == 0) and row["reward"] == float(row["correct"]) and row["finish"] == "stop"
        question = QUESTIONS[int(row["id"][1:])]
        assert (row["problem"], row["answer"]) == (question["problem"], question["answer"])
        assert row["prompt"][0]["role"] == "user" and question["problem"] in row["prompt"][0]["content"]
        assert ("language" in row) == (row["id"] == "q0") and "tokens" not in row
    right = sum(row["correct"] for row in made)
    assert 0 < right < len(made) and description["counts"]["right"] == right
    asked = description["asked"]["endpoint"]
    words = sum(len(row["completion"].split()) for row in made)
    assert asked["calls"] == len(made) + 1 == len(server.requests)  # one tries the server out
    first = completion(server_said(server.requests[0]))["usage"]["completion_tokens"]
    assert asked["completion_tokens"] == words + first and asked["prompt_tokens"] == 10 * len(server.requests)
    assert server.requests[0]["max_tokens"] == 16 and server.requests[1]["max_tokens"] == 50
    assert description["model"] == "teacher" and description["graders"]["accuracy"].startswith("math-verify")
    assert f"{right} (" in told and f"{COUNT}/{COUNT}" in shown
    # Three shards of two questions each: nine samples are no whole questions.
    assert description["shards"] == 3 and all(KEY.encode() not in content for content in contents(output).values())
    again = command(flags_of(data, output, server, key_variable="TEACHERS_KEY", format="array_record"))
    assert again[0] == 0 and again[1] == told  # without the server, which is gone


def server_said(request):
    return solves("", request, 0)["choices"][0]["message"]["content"]


def test_a_server_that_breaks_down_loses_nothing(command, data, tmp_path):
    def breaks(path, request, number):
        if not re.search(r"[2-9] \+", request["messages"][0]["content"]):
            return solves(path, request, number)
        time.sleep(1)  # Those of the questions before it may be under way.
        return 502, {}, b"<html>Bad gateway"

    broken, whole = tmp_path / "broken", tmp_path / "whole"
    with Server(breaks) as server:
        status, _, shown = command(flags_of(data, broken, server, concurrency=4))
        line = shown.splitlines()[-1]
        assert status == 1 and "status 502: '<html>Bad gateway'" in line and line.endswith("the same command goes on")
        assert line.startswith(f"error: --endpoint='{server.url}'")
        kept = [
            json.loads(line) for file in sorted(broken.glob("*-0*.jsonl")) for line in file.read_text().splitlines()
        ]
        assert [row["id"] for row in kept] == ["q0"] * 4 + ["q1"] * 4
        before = json.loads((broken / "generation.json").read_text())["asked"]["endpoint"]
        assert before["failures"] >= 1 and not json.loads((broken / "generation.json").read_text())["finished"]
    with Server(solves) as server:  # at another address: it is the same model
        assert command(flags_of(data, broken, server, concurrency=4))[0] == 0
        assert len(server.requests) == 1 + (COUNT - 2) * SAMPLES
        assert command(flags_of(data, whole, server))[0] == 0
    one, other = contents(broken), contents(whole)
    told = [json.loads(folder.pop("generation.json")) for folder in (one, other)]
    assert {n: c for n, c in one.items() if n != "config.json"} == {
        n: c for n, c in other.items() if n != "config.json"
    }
    asked = [description.pop("asked")["endpoint"] for description in told]
    assert told[0] == told[1] and asked[0]["calls"] == before["calls"] + 1 + (COUNT - 2) * SAMPLES


def test_a_cache_is_not_asked_twice(command, data, tmp_path):
    with Server(solves) as server:
        for name in ("one", "two"):
            flags = flags_of(data, tmp_path / name, server, cache=tmp_path / "cache")
            assert command(flags)[0] == 0
        assert len(server.requests) == COUNT * SAMPLES + 2  # each command tries the server out
    asked = json.loads((tmp_path / "two" / "generation.json").read_text())["asked"]["endpoint"]
    assert (asked["calls"], asked["cache_hits"]) == (1, COUNT * SAMPLES)
    assert list(read_shards(tmp_path / "one")) == list(read_shards(tmp_path / "two"))


def test_what_a_server_refuses_is_a_failure_of_its_own_sample(command, data, tmp_path):
    def picky(path, request, number):
        content = request["messages"][0]["content"]
        return (400, {}, b'{"error": "too long"}') if "3 + 3" in content else solves(path, request, number)

    with Server(picky) as server:
        status, _, shown = command(flags_of(data, tmp_path / "made", server))
    assert status == 0 and "reward 'endpoint': refused on a completion of q3" in shown
    made = list(read_shards(tmp_path / "made"))
    failed = [row for row in made if "failure" in row]
    assert [row["id"] for row in failed] == ["q3"] * SAMPLES
    assert all("too long" in row["failure"]["message"] and row["completion"] == "" for row in failed)
    assert json.loads((tmp_path / "made" / "generation.json").read_text())["counts"]["failures"] == SAMPLES


def test_a_text_is_continued_and_cut_off_at_the_templates_stops(command, data, tmp_path):
    def continues(path, request, number):
        assert path == "/v1/completions" and "stop" in request and request["prompt"].startswith("Problem:")
        return {"choices": [{"text": " So 4.\n\nProblem:\nWhat", "finish_reason": "length"}]}

    with Server(continues) as server:
        flags = flags_of(data, tmp_path / "made", server, template="minerva_words", samples=1, problems=2)
        assert command(flags)[0] == 0
    made = list(read_shards(tmp_path / "made"))
    assert [(row["completion"].strip(), row["finish"]) for row in made] == [("So 4.", "stop")] * 2
    assert made[0]["prompt"].startswith("Problem:")


@pytest.mark.parametrize(
    "answer, told",
    [
        (lambda *_: (200, {}, b"<html>Hello</html>"), "expected a completion in JSON"),
        (lambda *_: (404, {}, b'{"error": {"message": "no model teacher"}}'), "no model teacher"),
        (lambda *_: 60.0, "no answer within 0.3 s"),
        (None, "cannot be reached"),
    ],
    ids=["nonsense", "no such model", "hangs", "nobody"],
)
def test_a_server_that_does_not_answer_is_told_at_once(answer, told, refusal, data, tmp_path):
    with Server(answer or solves) as server:
        if answer is None:
            server.__exit__()
        line = refusal(generate.main, flags_of(data, tmp_path / "made", server, timeout=0.3))
    assert told in line and f"--endpoint='{server.url}'" in line


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"endpoint": None}, "--model='' --endpoint='': expected one of the two"),
        ({"model": "checkpoints/tiny"}, "expected one of the two"),
        ({"endpoint_model": None}, "--endpoint_model=''"),
        ({"endpoint": "localhost:8000"}, "--endpoint='localhost:8000'"),
        ({"key_variable": "NO_SUCH_VARIABLE"}, "--key_variable='NO_SUCH_VARIABLE'"),
        ({"samples": 0}, "--samples=0"),
        ({"temperature": 0}, "--samples=4: expected 1 at temperature 0"),
        ({"top_p": 2}, "--top_p=2.0"),
        ({"format": "parquet"}, "--format='parquet'"),
        ({"shard_size": 0}, "--shard_size=0"),
        ({"batch": 4}, "--batch=4: is not read where --endpoint names a server"),
        ({"dtype": "float32"}, "--dtype='float32'"),
        ({"grader": "number,judge"}, "with config.recipe='generate' and config.judge"),
        ({"grader": "accurracy"}, "--grader='accurracy'"),
        ({"template": "nonsense"}, "'nonsense'"),
        ({"concurrency": 0}, "--concurrency=0"),
    ],
    ids=str,
)
def test_wrong_flags(changes, told, refusal, data, tmp_path):
    server = Server(solves)  # which is not started
    assert told in refusal(generate.main, flags_of(data, tmp_path / "made", server, **changes))


def test_a_folder_of_something_else(command, refusal, data, tmp_path):
    output = tmp_path / "made"
    with Server(solves) as server:
        assert command(flags_of(data, output, server))[0] == 0
        for changes, told in (
            ({"seed": 4}, "--seed is 3 there and 4 here"),
            ({"endpoint_model": "other"}, '--endpoint_model is "teacher" there'),
            ({"samples": 3}, "--samples is 4 there and 3 here"),
            ({"format": "array_record"}, '--format is "jsonl" there'),
        ):
            line = refusal(generate.main, flags_of(data, output, server, **changes))
            assert told in line and f"--output={output}" in line
        before = data.read_text()
        try:
            data.write_text(before.replace('"answer": "2"', '"answer": "3"'))
            assert "other problems" in refusal(generate.main, flags_of(data, output, server))
        finally:
            data.write_text(before)
        (tmp_path / "files").mkdir()
        (tmp_path / "files" / "samples-00000.jsonl").write_text("{}\n")
        line = refusal(generate.main, flags_of(data, tmp_path / "files", server))
        assert "samples-00000.jsonl" in line


class Stopped(Exception):
    pass


def test_samples_of_a_model(command, tiny_model, data, tmp_path, monkeypatch):
    """They are those that collecting draws; one that was stopped behind the first batch goes on to the same bytes."""
    monkeypatch.setattr(generation, "make_mesh", functools.partial(make_mesh, devices=jax.devices()[:1]))
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"

    def flags(output):
        values = {"model": tiny_model, "data": data, "output": output, "samples": 2, "batch": 4, "max_tokens": 12}
        values |= {"template": "none", "grader": "user_graders:no_capital,length", "seed": 5, "shard_size": 4}
        return [f"--{name}={value}" for name, value in values.items()]

    drawn = collecting.sample_records
    with monkeypatch.context() as patched:

        def stops(*given):
            yield next(drawn(*given))
            raise Stopped

        patched.setattr(collecting, "sample_records", stops)
        with pytest.raises(Stopped):
            command(flags(stopped))
    assert len(read(stopped / "samples-00000.jsonl")) == 4
    assert command(flags(whole))[0] == command(flags(stopped))[0] == 0
    one, other = contents(whole), contents(stopped)
    assert one == other and len(one) == 2 + 3
    made = list(read_shards(whole))
    assert len({tuple(row["tokens"]) for row in made}) > len(made) // 2
    assert all(len(row["tokens"]) == len(row["logprobs"]) <= 12 for row in made)
    counts = json.loads(one["generation.json"])["counts"]
    assert counts["tokens"] == sum(len(row["tokens"]) for row in made)
    assert counts["truncated"] == sum(row["finish"] == "length" for row in made)


def test_two_hosts_ask_their_shares(commands, data, tmp_path):
    """Of a server each host asks for half of the samples, and the first one writes what one host alone would."""
    with Server(solves) as server:
        flags = lambda name: ["rl_reason.generate", *flags_of(data, tmp_path / name, server, timeout=60)]  # noqa: E731
        commands.succeed(flags("one"))
        alone = len(server.requests)
        ended = commands.run_together([flags("two")] * 2, devices=1)
        assert [process.returncode for process in ended] == [0, 0], ended[0].stderr + ended[1].stderr
        assert len(server.requests) - alone == COUNT * SAMPLES + 2  # each host tries the server out
    assert list(read_shards(tmp_path / "one")) == list(read_shards(tmp_path / "two"))
    one, two = (json.loads((tmp_path / name / "generation.json").read_text()) for name in ("one", "two"))
    asked = two["asked"]["endpoint"]
    assert asked["calls"] - asked["retries"] == COUNT * SAMPLES + 2
    assert one | {"asked": None} == two | {"asked": None} and "right" in ended[0].stdout + ended[0].stderr
    assert "right" not in ended[1].stdout


def test_training_with_a_judge(command, commands, tmp_path, data):
    """A run of real steps: what the judge was asked stands beside them, and what it could not say is counted."""

    def judges(path, request, number):
        told = request["messages"][0]["content"]
        if "What is 1 + 1?" in told or number % 5:
            return completion(f"score: {len(told) % 2}")
        return completion("I cannot say.")

    with Server(judges) as server:
        flags = (
            "--config.reward.names=('judge',)",
            f"--config.judge.url={server.url}",
            "--config.judge.model=judge",
            "--config.steps=2",
            "--config.evaluation.every=0",
            "--config.evaluation.problems=4",
        )
        commands.succeed(commands.grpo(tmp_path / "run", *flags))
        total = len(server.requests)
    metrics, evaluated = read(tmp_path / "run" / "metrics.jsonl"), read(tmp_path / "run" / "eval.jsonl")
    assert [row["judge/calls"] for row in metrics] == [8, 8]
    assert all(row["judge/completion_tokens"] > 0 and row["judge/retries"] == 0 for row in metrics)
    assert sum(row["grader/error"] for row in metrics) in (3, 4)
    assert [row["judge/calls"] for row in evaluated] == [8 + 1, 8] and total == 16 + 17


def test_a_judge_that_is_not_there_ends_a_run_before_it_begins(refusal, commands, tmp_path):
    flags = commands.grpo(tmp_path / "run", "--config.reward.names=('judge',)", "--config.judge.model=judge")[1:]
    line = refusal(train.main, [*flags, "--config.judge.url=http://127.0.0.1:1/v1"])
    assert "config.judge.url='http://127.0.0.1:1/v1'" in line and "cannot be reached" in line
    line = refusal(train.main, [*flags[:-2], "--config.judge.model=judge"])
    assert "config.judge.model='judge': is not read where config.reward.names has no 'judge'" in line
