"""Rewards of steps, and rewards that a model gives, which is trained on between iterations."""

from __future__ import annotations

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
import torch
import transformers
from filelock import FileLock

from rl_reason import settings, train
from rl_reason.data.iterators import EncodedPrompt
from rl_reason.models import families, huggingface, weights
from rl_reason.parallel.mesh import make_mesh
from rl_reason.recipes import instruction_rewards
from rl_reason.recipes.critic import describe_critic
from rl_reason.recipes.learned_rewards import RewardModel
from rl_reason.recipes.retraining import draw_batches
from rl_reason.recipes.setup import describe_model, describe_scorer
from rl_reason.rewards.combination import Graded
from rl_reason.settings import Critic, Settings
from tests.end_to_end.commands import read
from tests.end_to_end.test_resume import assert_same_run, kill_after

UNJUDGED = ("--config.evaluation.every=0", "--config.evaluation.samples=0")
# Random tokens hold few line ends.
STEPS = (
    "--config.algorithm.advantage=process",
    "--config.reward.steps=user_rewards:letters_of_steps",
    "--config.reward.step_separator=a",
)


RETRAINED = (
    "--config.reward.names=('number', 'model')", "--config.reward.model=x", "--config.algorithm.reference_every=3",
    "--config.retraining.steps=2",
)  # fmt: skip


def make_scorer(model, folder, kind, spread=1.0):
    """A reward model with random weights, beside the tokenizer of a language model."""
    config = families.read_config(model)
    hf = {**config.hf, "id2label": {"0": kind}, "label2id": {kind: 0}}
    config = dataclasses.replace(config, heads=("score",), hf=hf)
    params = jax.jit(lambda key: weights.initialize(config, key))(jax.random.key(1))
    params["score"] = spread * jax.random.normal(jax.random.key(2), params["score"].shape)
    huggingface.save_params(folder, config, params, "float32")
    for file in model.glob("tokenizer*"):
        shutil.copy(file, folder)


@pytest.fixture(scope="session")
def scorers(tiny_model, shared):
    """kind → the folder of a reward model."""
    folders = {kind: shared / f"scorer_{kind}" for kind in ("outcome", "process", "preference")}
    with FileLock(shared / "scorers.lock"):
        for kind, folder in folders.items():
            if not folder.exists():
                make_scorer(tiny_model, folder, kind)
    return folders


def test_rewards_of_steps(commands, tmp_path):
    run = tmp_path / "run"
    flags = (*UNJUDGED, *STEPS, "--config.reward.weights=(0.0,)", "--config.steps=2", "--config.log.samples=8")
    commands.succeed(commands.grpo(run, *flags))
    for record in read(run / "metrics.jsonl"):
        assert record["steps/completion"] > 1 and record["reward/step"] > 0 and record["reward/mean"] == 0
        assert record["optimizer/grad_norm"] > 0
    for sample in read(run / "samples.jsonl"):
        steps = [part for part in sample["completion"].split("a") if part.strip()]
        assert len(sample["step_rewards"]) in (len(steps), max(len(steps) - 1, 1), 1)


def test_rewards_that_do_not_fit_the_steps(commands, tmp_path):
    flags = (*UNJUDGED, *STEPS, "--config.reward.steps=user_rewards:one_step_short", "--config.steps=1")
    commands.succeed(commands.grpo(tmp_path / "run", *flags))
    (record,) = read(tmp_path / "run" / "metrics.jsonl")
    assert record["grader/error"] == 8 and record["reward/step"] == 0
    samples = read(tmp_path / "run" / "samples.jsonl")
    assert "expected one for each of" in samples[0]["failure"]["message"]


@pytest.mark.parametrize(
    "kind, method",
    [
        ("outcome", "ppo"),
        ("process", "grpo"),
        pytest.param("outcome", "grpo", marks=pytest.mark.slow),
        pytest.param("process", "ppo", marks=pytest.mark.slow),
    ],
)
def test_a_model_as_reward(kind, method, scorers, commands, tmp_path):
    """Beside a rule; a process model also of each step. PPO's critic starts from the same model, and says 0. With a
    model of outcomes one of questions multiplies the whole."""
    run = tmp_path / "run"
    names = ("--config.reward.names=('user_rewards:letters', 'model')", "--config.reward.weights=(0.5, 2.0)")
    flags = (*UNJUDGED, *names, f"--config.reward.model={scorers[kind]}", "--config.steps=1")
    flags += (*STEPS, "--config.reward.steps=model") if kind == "process" else ()
    flags += (f"--config.reward.instruction_model={scorers['preference']}",) if kind == "outcome" else ()
    if method == "ppo":
        of_ppo = ("--preset=ppo", "--config.algorithm.advantage=gae", f"--config.critic.path={scorers[kind]}")
        flags += (*of_ppo, "--config.critic.gae_lambda=1.0", "--config.critic.whiten=False", "--config.log.samples=8")
    commands.succeed(commands.grpo(run, *flags))
    for sample in read(run / "samples.jsonl"):
        parts = sample["rewards"]
        of_answer = 0.5 * parts["user_rewards:letters"] + 2 * parts["model"]
        assert sample["reward"] == pytest.approx(parts.get("instruction", 1) * of_answer, abs=1e-5)
        assert ("instruction" in parts) == (kind == "outcome")
        assert 0 < parts["model"] < 1
        if kind == "process":
            assert parts["model"] == pytest.approx(np.prod(sample["step_rewards"]), rel=1e-4)
    # They stand in no checkpoint, so a run that goes on is told if they have changed.
    again = json.loads((run / "model" / "read_again.json").read_text())
    assert again["reward.model"]["folder"] == str(scorers[kind])
    assert ("reward.instruction_model" in again) == (kind == "outcome")
    (record,) = read(run / "metrics.jsonl")
    assert 0 < record.get("reward/instruction", 0.5) < 1
    assert 0 < record["reward/model"] < 1 and record["reward/std"] > 0
    assert record["optimizer/grad_norm"] > 0
    if method == "ppo":
        assert record["critic/value"] == 0 and record["critic/grad_norm"] > 0
        # The policy still is the reference: what comes from a completion's first token on is its reward and its steps'.
        for sample in read(run / "samples.jsonl"):
            to_come = sample["reward"] + sum(sample.get("step_rewards", ()))
            assert sample["advantage"] == pytest.approx(to_come, rel=1e-4)


def test_rewards_of_questions(scorers, tiny_model):
    """WizardMath's product, by transformers and numpy; a question has one factor however many are scored with it."""
    asked = Settings(model=settings.Model(path=str(tiny_model)))
    reward = settings.Reward(instruction_model=str(scorers["preference"]))
    policy = describe_model(asked.model, make_mesh(asked.mesh, jax.devices()[:1]), lambda: ())
    model = instruction_rewards.describe_instruction_model(reward, policy)
    problems = [{"id": str(i), "problem": f"What is {i} + {i}{' more' * i}?"} for i in range(5)]
    prompts = [EncodedPrompt(index, []) for index in (4, 0, 3)]
    made = instruction_rewards.Questions(model, problems, prompts).factors(micro_batch=2)
    assert list(made) == [4, 0, 3]
    assert instruction_rewards.Questions(model, problems, prompts[:1]).factors(2)[4] == pytest.approx(made[4], rel=1e-5)

    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(scorers["preference"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model)
    for index, factor in made.items():
        ids = tokenizer("A problem:\n")["input_ids"] + tokenizer(problems[index]["problem"])["input_ids"]
        ids = torch.tensor([[*ids, tokenizer.eos_token_id]])
        with torch.no_grad():
            score = theirs(ids, attention_mask=torch.ones_like(ids)).logits.item()
        assert factor == pytest.approx(1 / (1 + np.exp(-score)), rel=1e-4)

    # v3: the least probability of a step; v1's is the same with another aggregation.
    logits, ends = np.float32([[1.5, 0, -0.5, 2], [0.2, 3, 1, 1]]), [[0, 2], [1]]
    judge = RewardModel(
        "process", type("Score", (), {"begin": lambda self, params, batch: lambda: logits})(), "minimum"
    )
    of_answers = judge.of_completions(judge.begin({}, {})(), np.array([3, 2]), ends)
    rules = np.float32([1, 0])
    graded = Graded(0 * rules, {"rule": rules}, ["correct", "wrong"], [None, None], {})
    total = graded.plus("model", of_answers).times("instruction", np.float32([made[4]] * 2)).total
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    np.testing.assert_allclose(total, [made[4] * min(sigmoid(1.5), sigmoid(-0.5)), made[4] * sigmoid(3)], rtol=1e-5)


@pytest.mark.parametrize("kind", ["outcome", "process", "preference"])
def test_what_a_critic_takes_of_a_reward_model(kind, scorers, tiny_model):
    """All but a last layer of logits; of one that gives rewards that too."""
    folder = scorers[kind]
    asked = Settings(model=settings.Model(path=str(tiny_model)), critic=Critic(kind="separate", path=str(folder)))
    policy = describe_model(asked.model, make_mesh(asked.mesh, jax.devices()[:1]), lambda: ())
    made = jax.device_get(describe_critic(asked, policy).load_params(0))
    theirs = jax.device_get(describe_scorer(policy, str(folder)).load_params(0))
    assert made["score"].any() == (kind == "preference") and theirs["score"].any()
    if kind != "preference":
        del made["score"], theirs["score"]
    jax.tree.map(np.testing.assert_array_equal, made, theirs)


@pytest.mark.slow
def test_the_reward_model_is_trained_on(scorers, commands, tmp_path):
    """At the end of an iteration, on what the rules say; a run that was killed learns from the same."""
    flags = (
        *UNJUDGED,
        "--config.reward.names=('user_rewards:many_letters', 'model')",
        "--config.reward.weights=(0.0, 1.0)",
        f"--config.reward.model={scorers['outcome']}",
        "--config.algorithm.reference_every=3",
        "--config.retraining.steps=2",
        "--config.retraining.batch_size=8",
        "--config.retraining.replay=0.25",
        "--config.retraining.learning_rate=1e-2",
    )
    whole, run = tmp_path / "whole", tmp_path / "run"
    commands.succeed(commands.grpo(whole, *flags))
    kill_after(commands, commands.grpo(run, *flags), run / "metrics.jsonl", 5)
    commands.succeed(commands.grpo(run, *flags))
    assert_same_run(whole, run)
    assert read(whole / "judged.jsonl") == read(run / "judged.jsonl")
    metrics = read(whole / "metrics.jsonl")
    assert [record["step"] for record in metrics if "reward_model/loss" in record] == [3, 6]
    assert metrics[2]["reward_model/fresh"] == metrics[5]["reward_model/fresh"] == 24
    # Only the trained model scores otherwise: with a learning rate of 1e-2 by far.
    assert abs(metrics[3]["reward/model"] - metrics[2]["reward/model"]) > 0.01


def test_batches_with_replay():
    drawn = draw_batches(10, 6, 5, 0.4, (0, 1))
    batches = [next(drawn) for _ in range(10)]
    assert all(len(fresh) == 3 and len(earlier) == 2 for fresh, earlier in batches)
    for column, count in ((0, 10), (1, 6)):
        flat = np.concatenate([batch[column] for batch in batches])
        assert sorted(flat[:count]) == list(range(count))  # each once before any comes again
    fresh, earlier = next(draw_batches(10, 0, 5, 0.4, (0, 1)))
    assert len(fresh) == 5 and not len(earlier)


@pytest.mark.parametrize(
    "flags, told",
    [
        (["--config.algorithm.advantage=process"], ["config.algorithm.advantage='process'", "config.reward.steps"]),
        (["--config.reward.steps=calculations"], ["config.reward.steps='calculations'", "advantage='group'"]),
        (["--config.reward.names=('number', 'model')"], ["'model'", "config.reward.model"]),
        (["--config.reward.steps=model", "--config.algorithm.advantage=process"], ["steps='model'", "reward.model"]),
        (["--config.reward.names=('model',)", "--config.reward.weights=(1.0,)", "--config.reward.model=x"], ["rule"]),
        (["--config.reward.model=x"], ["config.reward.model='x'", "is not asked"]),
        (["--config.reward.aggregation=minimum"], ["config.reward.aggregation='minimum'"]),
        (
            [
                "--config.reward.steps=calculations", "--config.algorithm.advantage=process",
                "--config.reward.instruction_model=x",
            ],
            ["config.reward.steps='calculations'", "config.reward.instruction_model"],
        ),
        (["--config.retraining.steps=3"], ["config.retraining.steps=3", "config.reward.model"]),
        (["--config.retraining.replay=0.5"], ["config.retraining.replay=0.5"]),
        ([*RETRAINED, "--config.retraining.batch_size=5"], ["replay=0.1: is none", "batch_size=5"]),
        (
            [*RETRAINED, "--config.retraining.batch_size=4", "--config.retraining.replay=0.9"],
            ["replay=0.9: is all", "batch_size=4"],
        ),
        (
            ["--config.reward.steps=calculation", "--config.algorithm.advantage=process"],
            ["config.reward.steps='calculation'", "calculations"],
        ),
        (
            [
                "--config.reward.steps=calculations", "--config.algorithm.advantage=process",
                "--config.algorithm.kl_in=reward", "--config.algorithm.kl_estimator=k1",
            ],
            ["config.algorithm.kl_in='reward'", "process"],
        ),
    ],
)  # fmt: skip
def test_settings_that_contradict(flags, told, refusal, tmp_path):
    config = ["--config=configs/grpo_math.py:tiny", f"--workdir={tmp_path}/run"]
    line = refusal(train.main, [*config, *flags])
    for part in told:
        assert part in line


def test_reward_models_that_cannot_be(scorers, tiny_model, refusal, tmp_path):
    config = [
        "--config=configs/grpo_math.py:tiny", f"--workdir={tmp_path}/run", f"--config.model.path={tiny_model}",
        "--config.data.max_prompt_length=200", "--config.data.problems=16",
    ]  # fmt: skip
    asks = ["--config.reward.names=('number', 'model')"]
    assert "no such folder" in refusal(train.main, [*config, *asks, "--config.reward.model=/no/such/folder"])
    line = refusal(train.main, [*config, *asks, f"--config.reward.model={tiny_model}"])
    assert "config.reward.model" in line and "Qwen2ForCausalLM" in line
    for key, folder in (("outcome", scorers["outcome"]), ("Qwen2ForCausalLM", tiny_model)):
        line = refusal(train.main, [*config, f"--config.reward.instruction_model={folder}"])
        assert "config.reward.instruction_model" in line and key in line
    steps = ["--config.reward.steps=model", "--config.algorithm.advantage=process"]
    line = refusal(train.main, [*config, *steps, f"--config.reward.model={scorers['outcome']}"])
    assert "config.reward.steps='model'" in line and "outcome" in line
    for unread in ("aggregation=minimum", "step_separator=."):
        flags = [*asks, f"--config.reward.model={scorers['outcome']}", f"--config.reward.{unread}"]
        line = refusal(train.main, [*config, *flags])
        assert f"config.reward.{unread.split('=')[0]}=" in line and "trained for outcome" in line
    flags = [*steps, f"--config.reward.model={scorers['process']}", "--config.reward.aggregation=last"]
    assert "'model' is not among config.reward.names" in refusal(train.main, [*config, *flags])
    retrained = [*asks, "--config.retraining.steps=2", "--config.algorithm.reference_every=3"]
    retrained += ["--config.reward.weights=(0.0, 1.0)", f"--config.reward.model={scorers['process']}"]
    line = refusal(train.main, [*config, *retrained])
    assert "config.retraining.steps=2" in line and "process" in line
    line = refusal(train.main, [*config, *retrained, "--config.algorithm.reference_every=26"])
    assert "reference_every=26" in line and "config.steps=25" in line


def test_a_model_that_gives_no_number(tiny_model, commands, tmp_path):
    """Its first NaN ends the run: as a 0 among rewards it would be learned from."""
    scorer = tmp_path / "scorer"
    make_scorer(tiny_model, scorer, "preference", spread=1e38)  # finite weights, of which scores overflow
    names = ("--config.reward.names=('user_rewards:letters', 'model')", "--config.reward.weights=(0.5, 2.0)")
    done = commands.run(commands.grpo(tmp_path / "run", *UNJUDGED, *names, f"--config.reward.model={scorer}"))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: step 1: config.reward.model gave ") and "expected a finite number" in line
