"""Constitutional AI's stages up to the preferences, by a server: answers, critiques, revisions, what is learned from
them, and which of two answers is better."""

from __future__ import annotations

import json
import math
import re
import sys

import pytest

from rl_reason import train
from rl_reason.data.generated import DESCRIPTION, read_shards, shard, write_shard
from rl_reason.errors import run_command
from rl_reason.runtime import endpoint
from tests.end_to_end.commands import read
from tests.servers import Server, completion

PROMPTS = [{"id": f"p{i}", "problem": f"Greet number {i}.", "answer": "-", "kind": "general"} for i in range(6)]
CONFIG = """
from rl_reason.settings import defaults, pipeline

def asks(template="chat", **changes):
    config = defaults()
    config.recipe = "generate"
    config.data.name, config.data.template = {data!r}, template
    config.endpoint.url, config.endpoint.model, config.endpoint.tries = {url!r}, "helper", 1
    config.reward.names, config.sampling.max_length = ("length",), 50
    config.reward.max_characters, config.collect.samples = 1000, 1
    config.update_from_flattened_dict(changes)
    return config

def feedback(**changes):
    config = defaults()
    config.recipe = "feedback"
    config.data.name, config.data.template = "stage:answers", "chat"
    config.endpoint.url, config.endpoint.model, config.endpoint.tries = {url!r}, "helper", 1
    config.sampling.max_length, config.constitution.file = 50, {file!r}
    config.update_from_flattened_dict(changes)
    return config

def get_config(variant=""):
    if variant == "alone":
        return feedback(**{{"data.name": {generated!r}}})
    answers = asks(**{{"collect.samples": 3}})
    critiques = asks(**{{"data.name": "stage:answers", "constitution.asks": "critique", "constitution.file": {file!r}}})
    revisions = asks(**{{"data.name": "stage:critiques", "constitution.asks": "revision"}})
    chosen = defaults()
    chosen.recipe = "select"
    chosen.selection.inputs, chosen.selection.least, chosen.selection.keep = ("stage:revisions",), (), 0
    return pipeline(answers=answers, critiques=critiques, revisions=revisions, chosen=chosen, pairs=feedback(),
                    thought=feedback(**{{"feedback.reasoning": True, "feedback.clamp": 0.4}}))
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """run(server, variant="", *flags): status, output and errors of a run in `tmp_path/run`."""
    monkeypatch.setattr(endpoint, "FIRST_PAUSE", 0.01)
    data, file = tmp_path / "prompts.jsonl", tmp_path / "principles.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in PROMPTS))
    principle = {"critique": "What is rude?", "revision": "Say it politely.", "choice": "Which is kinder?"}
    file.write_text(json.dumps(principle) + "\n")

    def start(server, variant="", *flags):
        paths = {"data": str(data), "file": str(file), "generated": str(tmp_path / "run" / "answers")}
        config = tmp_path / "config.py"
        config.write_text(CONFIG.format(url=server.url, **paths))
        folder = "alone" if variant else "run"
        told = [f"--config={config}{':' if variant else ''}{variant}", f"--workdir={tmp_path / folder}", *flags]
        monkeypatch.setattr(sys, "argv", ["train", *told])
        capfd.readouterr()
        try:
            run_command(train.main)
        except SystemExit as ended:
            return ended.code, *capfd.readouterr()
        return 0, *capfd.readouterr()

    return start


def speaks(path, request, number):
    """A helper that is rude at times, mends that when asked, and prefers hellos with a probability of 0.8, (A) a little
    more."""
    said = request["messages"][-1]["content"]
    if said.startswith("Greet") and "Options" not in said:
        return completion(f"{('Hello', 'Go away')[request['seed'] % 2]}, by {request['seed']}.")
    if said == "What is rude?":
        return completion(f"Rude is: {request['messages'][1]['content']}")
    if said == "Say it politely.":
        return completion(f"Dear you, {request['messages'][1]['content']}")
    if "step by step" in said:
        return completion("Let me see.")
    asked = next(m["content"] for m in request["messages"] if "Options" in m["content"])
    a, b = re.findall(r"\([AB]\) (\w+)", asked)[:2]
    p = 0.5 if a == b else 0.8 if a == "Hello" else 0.2
    made = completion("(A)" if p + 0.01 >= 0.5 else "(B)")
    if request.get("logprobs"):
        top = [{"token": "A", "logprob": math.log(p + 0.01)}, {"token": "B", "logprob": math.log(1 - p - 0.01)}]
        letter = {"token": made["choices"][0]["message"]["content"][1], "logprob": 0.0, "top_logprobs": top}
        made["choices"][0]["logprobs"] = {"content": [letter]}
    return made


def is_mixed(row):
    return row["chosen"][0] != row["rejected"][0]


def test_from_prompts_to_revisions_and_preferences(run, tmp_path):
    with Server(speaks) as server:
        status, told, shown = run(server)
        assert status == 0, shown
        again = len(server.requests)
        assert run(server)[0] == 0 and len(server.requests) == again
    folder = tmp_path / "run"
    answers = {f"{r['id']}/{r['sample']}": r["completion"] for r in read_shards(folder / "answers")}
    chosen = read(folder / "chosen" / "selected.jsonl")
    assert len(chosen) == len(answers) == 18
    for row in chosen:
        id = row["id"].removesuffix("/0/0")
        assert row["solution"] == f"Dear you, {answers[id]}" and "turns" not in row
        assert row["problem"] == f"Greet number {id[1]}." and row["kind"] == "general"
    pairs = read(folder / "pairs" / "preferences.jsonl")
    assert len(pairs) == 6 and any(map(is_mixed, pairs))
    for row in pairs:
        assert set(row) == {"id", "problem", "chosen", "rejected", "share"}
        # The liking for (A) is gone: both orders were asked.
        assert row["share"] == pytest.approx(0.8 if is_mixed(row) else 0.5)
        assert not is_mixed(row) or row["chosen"].startswith("Hello")
    thought = read(folder / "thought" / "preferences.jsonl")
    assert [row["share"] for row in thought if is_mixed(row)] == pytest.approx([0.6] * sum(map(is_mixed, thought)))
    (first, *_) = read(folder / "thought" / "judged.jsonl")
    assert first["principle"] == "Which is kinder?" and first["said"][0].startswith("Let me see.\n(")
    summary = json.loads((folder / "thought" / "feedback.json").read_text())
    assert summary["pairs"] == 6 and summary["unpaired_completions"] == 6 and summary["failures"] == 0


@pytest.fixture
def generated(tmp_path):
    """A folder with two answers to each prompt, as `rl_reason.generate` makes it."""
    folder = tmp_path / "run" / "answers"
    folder.mkdir(parents=True)
    rows = [
        {**prompt, "sample": k, "completion": text, "finish": "stop", "reward": float(k)}
        for prompt in PROMPTS
        for k, text in enumerate(("Hello.", "Go away."))
    ]
    write_shard(shard(folder, 0, "jsonl"), rows)
    told = {"finished": True, "format": "jsonl", "shards": 1, "problems": 6, "samples": 2}
    (folder / DESCRIPTION).write_text(json.dumps(told | {"counts": {"samples": len(rows)}}))


def test_a_judge_of_letters_alone_that_breaks_down(run, generated, tmp_path):
    """Log-probabilities are refused; questions about one prompt are answered with no letter; then nothing comes."""

    def picky(path, request, number):
        if "logprobs" in request:
            return 400, {}, b"logprobs: unknown"
        if number > 12:
            return 500, {}, b"broken"
        return completion("Both." if "number 0" in request["messages"][0]["content"] else "(A)")

    concurrency = "--config.endpoint.concurrency=1"
    with Server(picky) as server:
        status, _, shown = run(server, "alone", concurrency)
        assert status == 1 and shown.splitlines()[-1].endswith("'broken'; the same command goes on")
    judged = read(tmp_path / "alone" / "judged.jsonl")
    assert len(judged) == 4 and "p0/0-1: not judged: the answer names neither letter: 'Both.'" in shown
    with Server(lambda path, request, number: picky(path, request, 0)) as server:
        assert run(server, "alone", concurrency)[0] == 0 and len(server.requests) == 2 + 4
    assert read(tmp_path / "alone" / "judged.jsonl")[:4] == judged
    rows, summary = (tmp_path / "alone" / name for name in ("preferences.jsonl", "feedback.json"))
    assert [row["share"] for row in read(rows)] == [0.5] * 5
    summary = json.loads(summary.read_text())
    assert summary["failures"] == 1 and summary["pairs"] == 6 and summary["agreement"] == 0.5


def test_a_judge_that_never_chooses_ends_with_one_line(run, generated, tmp_path):
    with Server(lambda path, request, number: completion("I would rather not.")) as server:
        status, _, shown = run(server, "alone")
    last = shown.splitlines()[-1]
    assert status == 2 and last.startswith(f"error: {tmp_path / 'alone' / 'judged.jsonl'}, line 1: ")
    assert "names neither letter: 'I would rather not.'; expected (A) or (B); none of 6 pairs could be judged" in last
    assert len(read(tmp_path / "alone" / "judged.jsonl")) == 6
    assert not (tmp_path / "alone" / "preferences.jsonl").exists()


def test_a_constitution_without_principles_is_told_before_the_first_stage(run, tmp_path):
    (tmp_path / "principles.jsonl").write_text("\n")
    with Server(speaks) as server:
        status, _, shown = run(server)
        assert status == 2 and not server.requests
    assert shown.splitlines()[-1] == (
        f"error: stage 'critiques': {tmp_path / 'principles.jsonl'}: holds no principles; expected rows with "
        "`critique`, `revision`, `choice`"
    )
