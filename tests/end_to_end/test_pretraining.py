"""Continued pretraining in small: two sources, one of them with documents that cannot be read."""

from __future__ import annotations

import json

import pytest

from rl_reason import train
from tests.end_to_end.commands import contents, read

TEXT = "There are seven apples on the table of Anna, and she gives some of them away.\n"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    rows = [{"text": TEXT * (1 + i % 3)} for i in range(20)] + [{"text": ""}, {"title": "x"}]
    (folder / "pages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "\n")
    (folder / "notes.md").write_text("is no document")
    return folder


def flags(pages, model, workdir, *others: str) -> list[str]:
    return [
        "rl_reason.train", "--config=configs/minerva.py:tiny", f"--workdir={workdir}", f"--config.model.path={model}",
        f"--config.documents.sources=(('{pages}', 3.0), ('remarks', 1.0))", f"--config.documents.held_out=('{pages}',)",
        "--config.documents.unreadable=drop", "--config.data.row_length=64", "--config.algorithm.batch_size=4",
        "--config.algorithm.micro_batch=2", "--config.data.max_prompt_length=900", "--config.sampling.max_length=12",
        "--config.evaluation.problems=2", "--config.evaluation.samples=2", "--config.evaluation.every=2",
        "--config.algorithm.schedule=constant", "--config.algorithm.final_learning_rate=0.0",
        "--config.algorithm.warmup_steps=0", "--config.checkpoint.every=2", "--config.steps=6", *others,
    ]  # fmt: skip


def test_mixes_measures_and_goes_on(commands, tiny_model, pages, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    done = commands.succeed(flags(pages, tiny_model, whole))
    assert f"{pages}: left out 3 of 23 documents (unreadable.jsonl)" in done.stderr
    left_out = read(whole / "unreadable.jsonl")
    assert [one["place"] for one in left_out] == [f"{pages}/pages.jsonl, line {line}" for line in (21, 22, 23)]
    # Trained on and held out, it is looked through once.
    assert done.stderr.count("passed over 1 of 2 entries, which are no documents: notes.md") == 1
    metrics = read(whole / "metrics.jsonl")
    assert sum(record[f"share/{pages}"] for record in metrics) == pytest.approx(0.75 * 6, abs=0.25)
    evaluations = read(whole / "eval.jsonl")
    of_pages = [record for record in evaluations if record["dataset"] == str(pages)]
    assert [record["step"] for record in of_pages] == [0, 2, 4, 6] and {record["n"] for record in of_pages} == {20}
    # Random weights know nothing of 400 tokens; sentences that come again and again are learned at once.
    assert 300 < of_pages[0]["perplexity"] < 500 and of_pages[-1]["perplexity"] < 0.8 * of_pages[0]["perplexity"]
    of_problems = [record for record in evaluations if "pass@1" in record]
    assert all(record["greedy"] in (0.0, 0.5, 1.0) and len(record["greedy_ci95"]) == 2 for record in of_problems)
    assert "perplexity" in done.stdout and (whole / "export" / "model.safetensors").exists()
    assert "Perplexity" in [panel["title"] for panel in json.loads(_data(whole))["panels"]]

    commands.succeed(flags(pages, tiny_model, parts, "--config.steps=4"))
    commands.succeed(flags(pages, tiny_model, parts))
    assert contents(whole / "export") == contents(parts / "export")


def _data(run) -> str:
    page = (run / "report.html").read_text(encoding="utf-8")
    return page.split('<script type="application/json" id="data">')[1].split("</script>")[0]


@pytest.mark.parametrize(
    "changes, told",
    [
        (["--config.documents.unreadable=error"], ["pages.jsonl, line 21: is empty", "expected an object with `text`"]),
        (["--config.documents.sources=()"], ["documents.sources=()", "expected ((source, weight), …)"]),
        (["--config.documents.sources=(('remarks', 0.0),)"], ["'remarks' has weight 0.0"]),
        (["--config.documents.sources=(('remarks', 1.0), ('remarks', 2.0))"], ["each source once"]),
        (["--config.documents.sources=(('remark', 1.0),)"], ["documents.sources='remark'", "'remarks'"]),
        (["--config.documents.held_out=('none.jsonl',)"], ["none.jsonl", "No such file"]),
        (["--config.data.row_length=4096"], ["config.data.row_length=4096", "at most 2048"]),
        (["--config.data.row_length=0"], ["config.data.row_length=0: expected at least 2"]),
        (["--config.data.problems=5"], ["config.data.problems=5", "continued pretraining"]),
        (["--config.algorithm.reduction=sequence_mean"], ["reduction='sequence_mean'", "'token_mean'"]),
        (
            [f"--config.evaluation.{key}" for key in ("temperature=0.0", "samples=1", "samples_during=1")],
            ["evaluation.greedy=True", "temperature=0"],
        ),
    ],
)  # fmt: skip
def test_bad_input(changes, told, refusal, tiny_model, pages, tmp_path):
    line = refusal(train.main, flags(pages, tiny_model, tmp_path / "run", *changes)[1:])
    for text in told:
        assert text in line
    assert not (tmp_path / "run").exists()


def test_others_read_no_documents(refusal, tmp_path):
    asked = ["--config=configs/sft_math.py:tiny", "--config.documents.boundaries=False", f"--workdir={tmp_path}/run"]
    assert "config.documents.boundaries=False: is not read but by continued pretraining" in refusal(train.main, asked)
