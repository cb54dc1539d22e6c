"""`rl_reason.evaluate` killed and resumed, with another command's folder, with a reward model, with stop texts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time

import numpy as np
import pytest

from rl_reason import evaluate
from rl_reason.data.tokenization import decode, load_tokenizer
from rl_reason.recipes import evaluation_run
from tests.end_to_end.commands import contents, read
from tests.end_to_end.test_learned_rewards import scorers  # noqa: F401 (a fixture)

PROBLEMS = [{"id": f"q{i}", "problem": f"What is {i} + {i}?", "answer": str(2 * i)} for i in range(10)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    file = tmp_path_factory.mktemp("data") / "problems.jsonl"
    file.write_text("".join(json.dumps(problem) + "\n" for problem in PROBLEMS))
    return file


def flags_of(model, data, output, /, **changes):
    values = {"model": model, "data": data, "output": output, "samples": 2, "temperature": 1.0, "max_tokens": 12}
    values |= {"template": "none", "seed": 5, "batch": 8, "grader": "user_graders:no_capital"} | changes
    return ["rl_reason.evaluate", *(f"--{name}={value}" for name, value in values.items())]


@pytest.fixture(scope="module")
def finished(commands, data, tmp_path_factory):
    """The folder of an evaluation that nothing interrupted, in batches of four problems."""
    output = tmp_path_factory.mktemp("finished") / "out"
    commands.succeed(flags_of(commands.model, data, output))
    return output


def test_killed_and_resumed(commands, data, finished, tmp_path):
    """Killed behind the first batch, with a torn line and half a batch behind it: the same bytes in the end."""
    output = tmp_path / "out"
    slow = flags_of(commands.model, data, output, grader="user_graders:slowly_no_capital")
    process = commands.start(slow, SECONDS_PER_REWARD="0.5")
    deadline = time.monotonic() + 240
    while not (output / "samples.jsonl").exists() or (output / "samples.jsonl").read_text().count("\n") < 8:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    left = (output / "samples.jsonl").read_bytes()
    assert left.count(b"\n") in (8, 16) and not (output / "results.json").exists()
    with (output / "samples.jsonl").open("ab") as file:
        file.write(left.split(b"\n")[0] + b"\n" + b'{"id": "q')
    done = commands.succeed(slow)
    assert {path.name for path in output.iterdir()} == {"results.json", "samples.jsonl"}
    assert (output / "samples.jsonl").read_bytes() == (finished / "samples.jsonl").read_bytes()
    mine, whole = (json.loads((folder / "results.json").read_text()) for folder in (output, finished))
    assert mine.pop("grader") == "user_graders:slowly_no_capital"
    assert mine == {name: value for name, value in whole.items() if name != "grader"}
    assert "pass@1" in done.stdout and "10/10" in done.stderr and "tokens/s" in done.stderr


@pytest.fixture
def repeat(monkeypatch, capsys, commands, data):
    """Runs the command of a finished folder in this process, which samples nothing."""

    def run(output):
        monkeypatch.syspath_prepend(os.path.dirname(__file__))
        monkeypatch.setattr(sys, "argv", flags_of(commands.model, data, output))
        monkeypatch.setattr(evaluation_run, "sample_records", None)
        evaluate.main()
        return capsys.readouterr()

    return run


def test_the_same_command_again_tells_the_results_again(repeat, finished):
    before = contents(finished)
    told = repeat(finished)
    assert contents(finished) == before and told.err == ""
    results = json.loads(before["results.json"])
    assert f"{100 * results['pass@1']:.1f}%" in told.out
    # What nothing reads has no value.
    unread = ("aggregation", "step_separator", "choose", "expansions", "width", "simulations")
    assert [results[name] for name in unread] == [None] * 6
    # Name and version of what says who is right.
    assert results["grader_version"].startswith("user_graders ") and results["grader_version"] in told.out


def test_killed_before_the_results_were_written(repeat, finished, tmp_path):
    output = shutil.copytree(finished, tmp_path / "out")
    (output / "results.json").rename(output / "unfinished.json")
    repeat(output)
    assert contents(output) == contents(finished)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": 6}, "--seed=6, which was 5"),
        ({"temperature": 0.5}, "--temperature=0.5, which was 1.0"),
        ({"samples": 4}, "--samples=4, which was 2"),
        ({"stop": "x"}, '--stop="x", which was ""'),
        ({"batch": 4}, "--batch=4, which was 8"),
        ({"grader": "number"}, '--grader="number", which was "user_graders:no_capital"'),
    ],
)
@pytest.mark.parametrize("state", ["results.json", "unfinished.json"])
def test_another_command_is_refused(refusal, tiny_model, data, finished, monkeypatch, changes, told, state, tmp_path):
    monkeypatch.syspath_prepend(os.path.dirname(__file__))
    output = tmp_path / "out"
    output.mkdir()
    (output / state).write_bytes((finished / "results.json").read_bytes())
    (output / "samples.jsonl").write_bytes((finished / "samples.jsonl").read_bytes())
    line = refusal(evaluate.main, flags_of(tiny_model, data, output, **changes)[1:])
    assert told in line and str(output) in line


def test_other_problems_under_the_same_name_are_refused(refusal, tiny_model, finished, monkeypatch, data):
    monkeypatch.syspath_prepend(os.path.dirname(__file__))
    before = data.read_text()
    try:
        data.write_text(before.replace('"answer": "2"', '"answer": "3"'))
        line = refusal(evaluate.main, flags_of(tiny_model, data, finished)[1:])
    finally:
        data.write_text(before)
    assert "other problems in --data" in line


def test_somebody_elses_samples_are_not_written_over(refusal, tiny_model, data, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(os.path.dirname(__file__))
    (tmp_path / "samples.jsonl").write_text("{}\n")
    line = refusal(evaluate.main, flags_of(tiny_model, data, tmp_path)[1:])
    assert "samples.jsonl of something else" in line


@pytest.mark.parametrize("kind", ["outcome", "process"])
def test_a_reward_model_chooses(kind, scorers, tiny_model, evaluate_here, data, tmp_path):  # noqa: F811
    output, again = tmp_path / "out", tmp_path / "again"
    process = {"aggregation": "minimum", "step_separator": "a"} if kind == "process" else {}
    flags = {"samples": 4, "reward_model": scorers[kind], **process}
    evaluate_here(flags_of(tiny_model, data, output, **flags)[1:])
    results, samples = json.loads((output / "results.json").read_text()), read(output / "samples.jsonl")
    scores = np.array([row["score"] for row in samples]).reshape(10, 4)
    correct = np.array([row["correct"] for row in samples]).reshape(10, 4)
    assert ((0 < scores) & (scores < 1)).all() and len(np.unique(scores)) > 20
    chosen = correct[np.arange(10), scores.argmax(axis=1)]
    assert results["bon@4"] == pytest.approx(chosen.mean()) and results["reward_model_kind"] == kind
    assert {"bon@2", "bon@2_ci95", "weighted_maj@2", "weighted_maj@4", "auc"} <= results.keys()
    if kind == "outcome":
        return
    # Scores of a completion do not depend on the batch that it is in.
    evaluate_here(flags_of(tiny_model, data, again, **flags, batch=40)[1:])
    others = [row["score"] for row in read(again / "samples.jsonl")]
    np.testing.assert_allclose(others, scores.reshape(-1), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"aggregation": "last"}, ["--aggregation='last'", "without --reward_model"]),
        ({"step_separator": "a"}, ["--step_separator='a'", "without --reward_model"]),
        ({"reward_model": "/no/such"}, ["--reward_model='/no/such'", "no such folder"]),
        ({"reward_model": "{model}"}, ["--reward_model", "expected a model with one score"]),
        ({"reward_model": "{scorer}", "aggregation": "last"}, ["--aggregation='last'", "expected a process reward"]),
        ({"reward_model": "{scorer}", "aggregation": "mean"}, ["--aggregation='mean'", "product, minimum, last"]),
        ({"protocol": "r2"}, ["--protocol='r2'", "minerva, r1"]),
        ({"model": ""}, ["--model=", "expected"]),
        ({"max_prompt_tokens": 5}, ["--max_prompt_tokens=5: ", "expected a larger limit\n"]),
    ],
)
def test_flags_that_do_nothing_or_do_not_fit(refusal, tiny_model, scorers, data, tmp_path, changes, told):  # noqa: F811
    places = {"{model}": tiny_model, "{scorer}": scorers["outcome"]}
    changes = {name: places.get(value, value) for name, value in changes.items()}
    line = refusal(evaluate.main, flags_of(tiny_model, data, tmp_path / "out", grader="number", **changes)[1:])
    for part in told:
        assert part in line


def test_completions_are_cut_off_at_a_stop_text(commands, data, finished, tmp_path):
    """As a sampler that knew the text would have ended them: the fewest tokens that hold what is before it."""
    output = tmp_path / "out"
    before = read(finished / "samples.jsonl")
    # The letter that most of them have in the middle.
    stop = max("abcdefghijklmnopqrstuvwxyz", key=lambda letter: sum(letter in row["completion"][2:] for row in before))
    commands.succeed(flags_of(commands.model, data, output, stop=stop))
    tokenizer = load_tokenizer(str(commands.model))
    changed = 0
    for whole, row in zip(before, read(output / "samples.jsonl"), strict=True):
        if stop not in whole["completion"]:
            assert row == whole
            continue
        changed += 1
        text, n = whole["completion"].partition(stop)[0], len(row["tokens"])
        assert row["completion"] == text and row["finish"] == "stop"
        assert row["tokens"] == whole["tokens"][:n] and row["logprobs"] == whole["logprobs"][:n]
        assert decode(tokenizer, row["tokens"]).startswith(text)
        assert n == 1 or not decode(tokenizer, row["tokens"][:-1]).startswith(text)
    assert changed > 3
    results, whole = (json.loads((folder / "results.json").read_text()) for folder in (output, finished))
    assert results["tokens/completion"] < whole["tokens/completion"] and results["truncated"] < whole["truncated"]


def test_rated_programs_without_answers(evaluate_here, tiny_model, tmp_path):
    """A benchmark by its name; the prompt is the beginning of a function as it is, and nothing votes."""
    of_all = {"prompt_type": "completion", "tests": "assert f(1)"}
    rows = [
        {"id": f"h{i}", "prompt": f"def f{i}(x):\n", "entry_point": f"f{i}", "rating": 800 + 100 * i, **of_all}
        for i in range(6)
    ]
    (tmp_path / "humaneval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = tmp_path / "out"
    flags = {"template": "", "dir": tmp_path, "samples": 4, "grader": "user_graders:no_capital"}
    told = evaluate_here(flags_of(tiny_model, "humaneval", output, **flags)[1:])
    results, samples = json.loads((output / "results.json").read_text()), read(output / "samples.jsonl")
    assert results["template"] == "code_plain" and "pass@4" in results and "maj@4" not in results
    assert all(row["prompt"] == f"def f{row['id'][1:]}(x):\n" and row["answer"] is None for row in samples)
    assert results["elo_n"] == 6 and 0 < results["elo"] < 3000 and "elo" in told
    assert {row["rating"] for row in samples} == {800, 900, 1000, 1100, 1200, 1300}


def test_a_rating_that_is_no_number(refusal, tiny_model, tmp_path):
    file = tmp_path / "data.jsonl"
    file.write_text('{"id": "a", "problem": "p", "answer": "1", "rating": "1500"}\n')
    line = refusal(evaluate.main, flags_of(tiny_model, file, tmp_path / "out", grader="number")[1:])
    assert "rating='1500'" in line and "'a'" in line
