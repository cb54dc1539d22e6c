"""What a run leaves in its folder, and that it is the same run on another mesh."""

from __future__ import annotations

import json
import math
import shutil

import pytest

from tests.end_to_end.commands import ROOT, read
from tests.runtime.test_weights_and_biases import runs

DATA = ROOT.parent / "shared" / "data"


def test_files_and_their_contents(finished_run):
    config = json.loads((finished_run / "config.json").read_text())
    assert config["steps"] == 6 and config["algorithm"]["group_size"] == 4

    metrics = read(finished_run / "metrics.jsonl")
    assert [record["step"] for record in metrics] == [1, 2, 3, 4, 5, 6]
    for record in metrics:
        for name, value in record.items():
            assert value is None or (isinstance(value, int | float) and math.isfinite(value)), name
        names = {"reward/mean", "reward/std", "tokens/completion", "truncated", "loss", "entropy", "kl/reference"}
        names |= {"optimizer/grad_norm", "ratio/clipped", "time/sample_s", "time/reward_s", "time/update_s", "tokens/s"}
        names |= {"time/score_s", "time/wait_s", "time/step_s", "memory/host_GiB", "flops", "compilations"}
        assert names <= record.keys()
        assert record["logprob_difference/max"] < 1e-4
        assert 1 <= record["tokens/completion"] <= 12
        assert 0 <= record["entropy"] <= math.log(400)
        assert record["optimizer/grad_norm"] > 0
    # What came behind a step stands with the next one: evaluated behind the third one, saved behind each second one.
    assert ["time/evaluate_s" in record for record in metrics[1:]] == [False, False, True, False, False]
    assert ["time/save_s" in record for record in metrics[1:]] == [False, True, False, True, False]
    # Later steps meet a new length at most.
    assert metrics[0]["compilations"] > 5 > metrics[-1]["compilations"]
    # Before the first update the policy is its reference; afterwards it moves away.
    assert metrics[0]["kl/reference"] < 1e-7 < metrics[-1]["kl/reference"]
    # Some completions end by themselves and some at the limit, so both paths were taken.
    assert 0 < sum(record["truncated"] for record in metrics) < 6

    evaluations = read(finished_run / "eval.jsonl")
    assert [record["step"] for record in evaluations] == [0, 3, 6]
    for record in evaluations:
        assert record["dataset"] == "word_problems/test" and record["n"] == 8
        low, high = record["pass@1_ci95"]
        assert 0 <= low <= record["pass@1"] <= high <= 1
        assert 0 <= record["format"] <= 1
        assert ("pass@2" in record and "maj@2" in record) == (record["step"] != 3)

    samples = read(finished_run / "samples.jsonl")
    assert [record["step"] for record in samples] == [step for step in range(1, 7) for _ in range(8)]
    for record in samples:
        assert {"id", "sample", "prompt", "completion", "answer", "rewards", "reward", "advantage"} <= record.keys()
        assert record["finish"] in ("stop", "length") and 1 <= record["tokens"] <= 12
        assert record["rewards"]["user_rewards:letters"] == pytest.approx(record["reward"])
    for step in range(1, 7):
        rows = [record for record in samples if record["step"] == step]
        assert sum(row["reward"] for row in rows) / 8 == pytest.approx(metrics[step - 1]["reward/mean"], abs=1e-6)
        for group in (rows[:4], rows[4:]):
            assert len({row["prompt"] for row in group}) == 1
            assert sum(row["advantage"] for row in group) == pytest.approx(0, abs=1e-4)

    assert {path.name for path in (finished_run / "checkpoints").iterdir()} == {"4", "6"}
    picture = (finished_run / "curves.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n") and len(picture) > 20_000
    width, height = (int.from_bytes(picture[i : i + 4]) for i in (16, 20))
    assert 600 <= width <= 6000 and 400 <= height <= 6000
    page = (finished_run / "report.html").read_text(encoding="utf-8")
    assert page.lstrip().lower().startswith("<!doctype html") and "user_rewards:letters" in page


@pytest.mark.skipif(not (DATA / "math" / "gsm8k_train.jsonl").is_file(), reason="needs GSM8K in ../shared/data")
def test_questions_of_gsm8k(commands, tmp_path):
    arguments = ["rl_reason.train", "--config=configs/grpo_math.py", f"--workdir={tmp_path}/run"]
    arguments += [f"--config.model.path={commands.model}", "--config.data.dir=../shared/data"]
    arguments += ["--config.data.name=gsm8k", "--config.data.template=boxed_plain", "--config.data.problems=200"]
    arguments += ["--config.data.max_prompt_length=1024", "--config.sampling.max_length=16", "--config.steps=2"]
    arguments += ["--config.algorithm.group_size=4", "--config.algorithm.batch_size=8"]
    arguments += ["--config.algorithm.micro_batch=4", "--config.evaluation.problems=8"]
    commands.succeed(arguments)
    metrics = read(tmp_path / "run" / "metrics.jsonl")
    assert [record["step"] for record in metrics] == [1, 2]
    assert [record["n"] for record in read(tmp_path / "run" / "eval.jsonl")] == [8, 8]
    # What the questions are, not only how many: the prompt of the first sample holds one of them.
    questions = [row["problem"] for row in read(DATA / "math" / "gsm8k_train.jsonl")[:200]]
    sample = read(tmp_path / "run" / "samples.jsonl")[0]
    asked = [question for question in questions if question in sample["prompt"]]
    assert len(asked) == 1 and "\\boxed{}" in sample["prompt"]


def test_everything_that_cuts_a_batch_at_once(commands, tmp_path):
    """Several passes, minibatches, micro-batches, sampling in parts and a moving reference."""
    flags = ["--config.algorithm.updates=2", "--config.algorithm.minibatches=2", "--config.algorithm.micro_batch=2"]
    flags += ["--config.algorithm.reference_every=2", "--config.sampling.batch_size=4", "--config.steps=3"]
    flags += ["--config.evaluation.every=0", "--config.algorithm.learning_rate=1e-3"]
    commands.succeed(commands.grpo(tmp_path / "run", *flags))
    metrics = read(tmp_path / "run" / "metrics.jsonl")
    assert [record["step"] for record in metrics] == [1, 2, 3]
    assert all(record["logprob_difference/max"] < 1e-4 for record in metrics)
    # The last of four updates of a step sees a policy that has left the one that sampled.
    assert all(abs(record["ratio/mean"] - 1) > 1e-6 for record in metrics)
    # Step 3 begins with the reference just renewed, so it is nearer than at the end of step 2.
    assert metrics[2]["kl/reference"] < metrics[1]["kl/reference"]

    # The sampler's log-probabilities in place of the trainer's: the same run to rounding, without the pass.
    commands.succeed(commands.grpo(tmp_path / "sampler", *flags, "--config.algorithm.old_logprobs=sampler"))
    for record, expected in zip(read(tmp_path / "sampler" / "metrics.jsonl"), metrics, strict=True):
        # Measured in the updates then, in which the policy moves.
        assert record["logprob_difference/max"] > expected["logprob_difference/max"] > 0
        for name in ("reward/mean", "loss", "optimizer/grad_norm", "kl/reference", "ratio/mean"):
            assert record[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-4), name


def test_dynamic_sampling(commands, tmp_path):
    """With DAPO's preset a step trains on groups that differ, as long as there are some to be drawn."""
    flags = ["--preset=dapo", "--config.algorithm.kl_coef=0", "--config.steps=3", "--config.evaluation.samples=0"]
    flags += ["--config.reward.names=('user_rewards:letters_of_some',)", "--config.algorithm.resample=2"]
    # The penalty would make groups differ that otherwise do not.
    commands.succeed(commands.grpo(tmp_path / "run", *flags, "--config.reward.overlong=0"))
    metrics = read(tmp_path / "run" / "metrics.jsonl")
    samples = read(tmp_path / "run" / "samples.jsonl")
    assert all(record["groups/drawn"] in (2, 4, 6) and record["time/resample_s"] >= 0 for record in metrics)
    assert any(record["groups/drawn"] > 2 for record in metrics)
    for record in metrics:
        rows = [row for row in samples if row["step"] == record["step"]]
        assert len(rows) == 8
        # Two groups are trained on; one that does not differ only where the draws were used up.
        equal = [len({row["reward"] for row in rows[i : i + 4]}) == 1 for i in (0, 4)]
        assert not any(equal) or record["groups/drawn"] == 6
        assert record["tokens/sampled"] >= record["tokens/update"] > 0
        assert "kl/reference" not in record


def test_rewards_of_tokens_and_of_lengths(commands, tmp_path):
    """REINFORCE++: the KL to the reference is taken off the rewards, and tokens differ in their advantages. With DAPO's
    penalty of long completions."""
    flags = ["--preset=reinforce_pp", "--config.algorithm.kl_coef=0.5", "--config.steps=3"]
    flags += ["--config.evaluation.samples=0", "--config.algorithm.learning_rate=1e-2", "--config.reward.overlong=6"]
    commands.succeed(commands.grpo(tmp_path / "run", *flags))
    metrics = read(tmp_path / "run" / "metrics.jsonl")
    assert all(math.isfinite(record["loss"]) and record["optimizer/grad_norm"] > 0 for record in metrics)
    assert metrics[0]["kl/reference"] < 1e-6 < metrics[-1]["kl/reference"]
    samples = read(tmp_path / "run" / "samples.jsonl")
    for row in samples:
        assert row["rewards"]["overlong"] == pytest.approx(min(0, 12 - 6 - row["tokens"]) / 6)
        assert row["reward"] == pytest.approx(sum(row["rewards"].values()), abs=1e-6)
    assert any(row["rewards"]["overlong"] == -1 for row in samples)


def test_eight_devices_make_the_same_run(commands, finished_run, tmp_path):
    flags = ["--config.mesh.data=2", "--config.mesh.fsdp=2", "--config.mesh.tensor=2", "--config.steps=2"]
    flags += ["--config.evaluation.samples=1"]
    commands.succeed(commands.grpo(tmp_path / "run", *flags), devices=8)
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert sum(environment["devices"].values()) == 8
    for one, eight in zip(read(finished_run / "metrics.jsonl"), read(tmp_path / "run" / "metrics.jsonl"), strict=False):
        for name in ("reward/mean", "loss", "optimizer/grad_norm", "kl/reference", "entropy", "tokens/completion"):
            assert eight[name] == pytest.approx(one[name], rel=1e-4, abs=1e-4), name


@pytest.mark.skipif(not (DATA / "math" / "math_train.jsonl").is_file(), reason="needs MATH in ../shared/data")
def test_the_papers_questions_and_sizes_are_accepted(tmp_path):
    """All of GSM8K and MATH with the config's own lengths, up to the first compilation; the longest are dropped."""
    from rl_reason.recipes import policy_gradient
    from rl_reason.rewards.combination import Rewarder
    from rl_reason.runtime.config import load

    arguments = ["--config=configs/grpo_math.py", "--config.model.path=checkpoints/tiny", f"--workdir={tmp_path}/run"]
    settings = load([*arguments, f"--config.data.dir={DATA}"]).settings
    with Rewarder(settings.reward) as rewarder:
        task = policy_gradient._prepare(settings, rewarder)
    assert len(task.problems) == 7473 + 7498
    assert [held_out.name for held_out in task.held_out] == ["gsm8k/test", "math/test"]
    assert 900 < task.prompt_length <= 1024
    assert len(task.data.draw(1)) == 16


def test_weights_and_biases_without_a_network(commands, finished_run, tmp_path):
    """Also where a run goes on that began without it."""
    pytest.importorskip("wandb")
    workdir = shutil.copytree(finished_run, tmp_path / "run")
    flags = ["--config.log.wandb=maths", "--config.steps=7"]
    commands.succeed(commands.grpo(workdir, *flags), WANDB_MODE="offline", WANDB_CACHE_DIR=str(tmp_path / "cache"))
    (made,) = runs(workdir)
    assert made["project"] == "maths" and made["config"]["steps"] == 7 and made["exits"] == [0]
    (metrics,) = [row for row in made["rows"] if "loss" in row]
    written = read(workdir / "metrics.jsonl")[-1]
    assert {name: metrics[name] for name in written if written[name] is not None}.items() <= written.items()
    (evaluated,) = [row for row in made["rows"] if "eval/word_problems/test/pass@1" in row]
    assert (
        evaluated["step"] == 7
        and evaluated["eval/word_problems/test/pass@1"] == read(workdir / "eval.jsonl")[-1]["pass@1"]
    )
