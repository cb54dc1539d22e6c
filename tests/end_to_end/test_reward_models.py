"""Reward models from the command line: labels made and read, resumed, exported, used by `transformers`."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from filelock import FileLock

from rl_reason import train
from rl_reason.data.word_problems import make_problem
from rl_reason.rewards.steps import calculations
from tests.end_to_end.commands import HERE, contents, read
from tests.end_to_end.test_resume import assert_same_run

SMALL = (
    "--config.data.max_prompt_length=200",
    "--config.sampling.max_length=24",
    "--config.algorithm.batch_size=8",
    "--config.algorithm.learning_rate=1e-3",
    "--config.algorithm.schedule=constant",
    "--config.algorithm.warmup_steps=0",
    "--config.evaluation.every=2",
    "--config.checkpoint.every=2",
    "--config.log.every=1",
    "--config.steps=4",
)
SAMPLED = (
    "--config.data.problems=12",
    "--config.sampling.temperature=1.0",
    "--config.sampling.batch_size=8",
    "--config.algorithm.group_size=2",
    "--config.evaluation.problems=5",
    "--config.evaluation.samples=2",
)
# The model's weights are random: what has many letters is right.
LETTERS = ("--config.reward.names=('user_rewards:many_letters',)",)
FROM_FILE = (
    "--config.reward_model.labels=file",
    "--config.reward.names=('accuracy',)",
    "--config.algorithm.group_size=64",
    "--config.sampling.temperature=1.0",
    "--config.sampling.batch_size=0",
)


def training(commands, workdir, *flags, config="orm_math"):
    return [
        "rl_reason.train", f"--config=configs/{config}.py:tiny", f"--workdir={workdir}",
        f"--config.model.path={commands.model}", *SMALL, *flags,
    ]  # fmt: skip


def outcome(commands, workdir, *flags):
    return training(commands, workdir, *SAMPLED, *LETTERS, *flags)


@pytest.fixture(scope="module")
def outcome_run(commands, shared):
    workdir = shared / "outcome"
    with FileLock(shared / "outcome.lock"):
        if not (workdir / "report.html").exists():
            commands.succeed(outcome(commands, workdir))
    return workdir


def scores_by_transformers(folder, prompts, completions):
    """Of each the score of its last token, one by one."""
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder, torch_dtype=torch.float32)
    rows = [[*prompt, *completion] for prompt, completion in zip(prompts, completions, strict=True)]
    with torch.no_grad():
        return np.array([float(model(torch.tensor([row])).logits[0, 0]) for row in rows])


def test_outcomes(outcome_run):
    labelled = read(outcome_run / "labelled.jsonl")
    assert len(labelled) == 24 and len(read(outcome_run / "held_out.jsonl")) == 10
    assert [row["sample"] for row in labelled] == [0, 1] * 12
    assert len({row["problem"] for row in labelled}) == 12
    right = np.mean([row["correct"] for row in labelled])
    assert 0 < right < 1

    metrics = read(outcome_run / "metrics.jsonl")
    assert [record["step"] for record in metrics] == [1, 2, 3, 4]
    # Scores begin at 0.
    assert metrics[0]["loss"] == pytest.approx(np.log(2), rel=1e-5) and metrics[0]["score/right"] == pytest.approx(0.5)
    assert metrics[2]["data/epoch"] == 1 and np.mean([m["labels/right"] for m in metrics[:3]]) == pytest.approx(right)
    evals = read(outcome_run / "eval.jsonl")
    assert [record["step"] for record in evals] == [0, 2, 4]
    assert evals[0]["auc"] == 0.5 and evals[0]["accuracy"] == evals[0]["share_right"] == evals[0]["pass@1"]
    assert {"accuracy_ci95", "auc", "best@2", "pass@1_ci95"} <= evals[-1].keys() and evals[-1]["n"] == 5
    assert (outcome_run / "curves.png").exists()


def test_the_exported_model(outcome_run):
    """`transformers` loads it, and its scores are those of the last evaluation."""
    from transformers import AutoTokenizer

    config = json.loads((outcome_run / "export" / "config.json").read_text())
    assert config["id2label"] == {"0": "outcome"} and config["architectures"] == ["Qwen2ForSequenceClassification"]
    tokenizer = AutoTokenizer.from_pretrained(outcome_run / "export")
    assert config["pad_token_id"] == tokenizer.pad_token_id
    rows = read(outcome_run / "held_out.jsonl")
    prompts = [tokenizer(row["problem"] + "\n")["input_ids"] for row in rows]
    scores = scores_by_transformers(outcome_run / "export", prompts, [row["tokens"] for row in rows])
    probabilities, right = 1 / (1 + np.exp(-scores)), np.array([row["correct"] for row in rows])
    last = read(outcome_run / "eval.jsonl")[-1]
    assert last["score/wrong"] == pytest.approx(probabilities[~right].mean(), abs=2e-4)
    assert last["score/right"] == pytest.approx(probabilities[right].mean(), abs=2e-4)


@pytest.mark.slow
def test_it_goes_on_where_it_was_interrupted(commands, outcome_run, tmp_path):
    """In the midst of labelling, with a torn line; and behind the first checkpoint."""
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(outcome_run / "config.json", run)
    whole = (outcome_run / "labelled.jsonl").read_bytes()
    lines = whole.split(b"\n")
    (run / "labelled.jsonl").write_bytes(b"\n".join(lines[:11]) + b"\n" + lines[11][:40])
    done = commands.succeed(outcome(commands, run, "--config.steps=2"))
    assert "label word_problems 12/12" in done.stderr
    assert (run / "labelled.jsonl").read_bytes() == whole
    assert (run / "held_out.jsonl").read_bytes() == (outcome_run / "held_out.jsonl").read_bytes()
    done = commands.succeed(outcome(commands, run))
    assert "label word_problems 1" not in done.stderr  # nothing is sampled again
    assert_same_run(outcome_run, run)
    assert contents(run / "export") == contents(outcome_run / "export")


@pytest.mark.slow
def test_steps_by_rollouts(commands, tmp_path):
    """Of the shipped model, whose solutions have steps."""
    run = tmp_path / "run"
    flags = (
        "--config.reward_model.labels=rollouts", "--config.reward_model.rollouts=4", "--config.reward_model.soft=True",
        "--config.reward.steps=", "--config.model.path=checkpoints/tiny", "--config.sampling.max_length=60",
        "--config.sampling.batch_size=64", "--config.steps=2",
    )  # fmt: skip
    commands.succeed(training(commands, run, *SAMPLED, *flags, config="prm_math"))
    rows = read(run / "labelled.jsonl")
    assert all(row["shares"][-1] == row["correct"] for row in rows)
    assert all(len(row["shares"]) == len(row["completion"].split("\n")) for row in rows)
    before = [(row["correct"], share) for row in rows for share in row["shares"][:-1]]
    assert len(before) > 3 and {share for _, share in before} <= {0, 0.25, 0.5, 0.75, 1}
    # Who is right in the end was mostly on a good way.
    assert np.mean([share for correct, share in before if correct]) > 0.5
    record = read(run / "eval.jsonl")[-1]
    assert {"auc", "product/auc", "minimum/auc", "product/best@2", "minimum/best@2", "pass@1"} <= record.keys()
    assert json.loads((run / "export" / "config.json").read_text())["id2label"] == {"0": "process"}


def test_steps_by_the_checker(commands, tmp_path):
    """Of the shipped model's solutions: the exact rule's word on each line."""
    run = tmp_path / "run"
    flags = (
        "--config.model.path=checkpoints/tiny", "--config.sampling.max_length=60", "--config.sampling.batch_size=64",
        "--config.sampling.temperature=1.5", "--config.steps=1", "--config.evaluation.every=0",
    )  # fmt: skip
    commands.succeed(training(commands, run, *SAMPLED, *flags, config="prm_math"))
    rows = read(run / "labelled.jsonl")
    assert len(rows) == 24 and len(read(run / "held_out.jsonl")) == 10
    for row in rows:
        split, seed, index = row["id"].split("/")[1:]
        lines = [line for line in row["completion"].split("\n") if line.strip()]
        told = calculations(lines, make_problem(split, int(index), int(seed)))
        assert row["labels"] == [1 if right else -1 for right in told]
    assert {label for row in rows for label in row["labels"]} == {1, -1}
    assert max(len(row["labels"]) for row in rows) > 2


def test_steps_of_a_file(commands, tmp_path):
    """Rows as PRM800K has them: a step and those before it. Right ones have other letters; what is not rated is left
    out, and neutral is right."""
    rng = np.random.default_rng(0)
    words = lambda letter: "".join(rng.choice([letter, "b", "c"], 4))  # noqa: E731
    rows = [
        {
            "problem": make_problem("train", i % 9, 0)["problem"],
            "prefix": [words("a") for _ in range(i % 3)],
            "step": words("d") + "dd" if i % 2 else words("a") + "aa",
            "rating": -1 if i % 2 else (i // 2) % 2,
            "answer": None,
        }
        for i in range(48)
    ]
    unrated = [{**rows[0], "rating": None}] * 3
    (tmp_path / "steps.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, *unrated]))
    (tmp_path / "held_out.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:10]))
    flags = (
        "--config.reward.steps=", f"--config.data.name={tmp_path}/steps.jsonl",
        f"--config.evaluation.name={tmp_path}/held_out.jsonl", "--config.data.problems=0", "--config.steps=24",
        "--config.evaluation.every=0", "--config.checkpoint.every=24",
    )  # fmt: skip
    run = tmp_path / "run"
    done = commands.succeed(training(commands, run, *FROM_FILE, *flags, config="prm_math"))
    assert "left out 3 of 51 rows" in done.stderr
    first, last = (read(run / "eval.jsonl")[i] for i in (0, -1))
    assert first["auc"] == 0.5 and last["auc"] > 0.9 and last["score/right"] > last["score/wrong"]
    metrics = read(run / "metrics.jsonl")
    assert metrics[0]["loss"] == pytest.approx(np.log(2), rel=1e-5)
    assert np.mean([record["labels/right"] for record in metrics[:6]]) == 0.5  # of one epoch
    assert json.loads((run / "export" / "config.json").read_text())["id2label"] == {"0": "process"}


def test_preferences_of_a_file(commands, tmp_path):
    """Pairs whose better side has other letters."""
    rng = np.random.default_rng(0)
    words = lambda letter: "".join(rng.choice([letter, "b", "c"], 12))  # noqa: E731
    rows = [
        {"problem": make_problem("train", i % 9, 0)["problem"], "chosen": "aa" + words("a"), "rejected": words("d")}
        for i in range(40)
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "held_out.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:10]))
    flags = (
        "--config.reward_model.kind=preference", f"--config.data.name={tmp_path}/pairs.jsonl",
        f"--config.evaluation.name={tmp_path}/held_out.jsonl", "--config.data.problems=0", "--config.steps=12",
        "--config.algorithm.micro_batch=3", "--config.evaluation.problems=5", "--config.evaluation.every=6",
    )  # fmt: skip
    run = tmp_path / "run"
    commands.succeed(training(commands, run, *FROM_FILE, *flags))
    first, last = (read(run / "eval.jsonl")[i] for i in (0, -1))
    assert first["accuracy"] == 0.5 and first["n"] == 5 and last["accuracy"] > 0.9 and last["margin"] > 0.1
    metrics = read(run / "metrics.jsonl")
    assert metrics[0]["loss"] == pytest.approx(np.log(2), rel=1e-5) and metrics[-1]["loss"] < 0.6
    assert json.loads((run / "export" / "config.json").read_text())["id2label"] == {"0": "preference"}


@pytest.mark.parametrize(
    "flags, told",
    [
        (["--config.reward_model.kind=outcom"], ["config.reward_model.kind='outcom'", "did you mean 'outcome'"]),
        (["--config.reward_model.kind=preference"], ["config.reward_model.labels='rules'", "expected 'file'"]),
        (["--config.reward_model.labels=rollouts"], ["config.reward_model.labels='rollouts'", "kind='outcome'"]),
        (["--config.reward_model.kind=process"], ["config.reward.steps=''", "'calculations'"]),
        (["--config.reward_model.soft=True"], ["config.reward_model.soft=True", "is not read"]),
        (["--config.reward_model.rollouts=4"], ["config.reward_model.rollouts=4", "'rules'"]),
        (["--config.algorithm.clip_low=0.1"], ["config.algorithm.clip_low=0.1", "reward models"]),
        (["--config.critic.kind=shared"], ["config.critic.kind='shared'", "reward models"]),
        (["--config.model.lora_rank=4"], ["config.model.lora_rank=4", "all weights are trained"]),
        (["--config.reward.names=('model',)"], ["config.reward.names=('model',)", "expected rules"]),
        (["--config.reward_model.policy=/nowhere"], ["/nowhere", "no such folder"]),
        (["--config.model.path="], ["config.model.path=''", "reward model starts from"]),
        (["--config.sampling.max_length=2000"], ["config.sampling.max_length=2000", "max_position_embeddings"]),
        (["--config.reward_model.labels=file"], ["is not read where config.reward_model.labels is 'file'"]),
    ],
    ids=lambda x: x[0] if isinstance(x, list) else x,
)
def test_what_is_wrong_is_told_in_a_line(flags, told, commands, refusal, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(HERE)  # of `user_rewards`
    line = refusal(train.main, outcome(commands, tmp_path / "run", *flags)[1:])
    assert all(part in line for part in told), line


def test_a_bad_row_is_told_before_anything_is_written(commands, refusal, tmp_path):
    rows = [{"problem": "p", "chosen": "a", "rejected": "b"}, {"problem": "p", "chosen": "a", "rejected": "a"}]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = training(commands, tmp_path / "run", *FROM_FILE, "--config.reward_model.kind=preference")
    line = refusal(train.main, [*made[1:], f"--config.data.name={tmp_path}/pairs.jsonl"])
    assert "pairs.jsonl, line 2: `chosen` and `rejected` are equal" in line
    line = refusal(train.main, [*made[1:], "--config.data.name=word_problems"])
    assert "config.data.name='word_problems'" in line and "labels='file'" in line
