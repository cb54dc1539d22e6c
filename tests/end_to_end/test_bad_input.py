"""What is wrong with a command line, a config or a file is told in one line, before anything is compiled or written.

Most cases run in this process, which is the same code without the seconds of starting an interpreter; some run the
real command, to see the whole of stderr.
"""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from rl_reason import train
from rl_reason.data.tokenization import load_tokenizer
from tests.end_to_end.commands import SMALL, contents


@pytest.fixture
def refused(refusal, tiny_model, tmp_path):
    """`refused(*flags)` is the line with which a training command of these flags ends."""

    def run(*flags: str, config: str = "configs/grpo_math.py:tiny", small: bool = True) -> str:
        base = [f"--config={config}", f"--workdir={tmp_path}/run"]
        base += [f"--config.model.path={tiny_model}", *SMALL] if small else []
        return refusal(train.main, [*base, *flags])

    return run


@pytest.mark.parametrize(
    "flags, told",
    [
        (["--preset=rloo", "--config.algorithm.group_size=1"], ["group_size=1", "config.algorithm.advantage='leave"]),
        (["--preset=rloo", "--config.algorithm.kl_estimator=k3_weighted"], ["'k3_weighted'", "kl_in='reward'"]),
        (["--preset=sapo", "--config.algorithm.clip_high=0.3"], ["clip_high=0.3", "surrogate='sapo'"]),
        (["--preset=cispo", "--config.algorithm.dual_clip=8"], ["dual_clip=8", "surrogate='cispo'"]),
        (["--preset=dr_grpo", "--config.algorithm.kl_estimator=k2"], ["kl_estimator='k2'", "kl_coef is 0"]),
        (["--preset=dr_grpo", "--config.algorithm.ddof=1"], ["ddof=1", "advantage='centered'"]),
        (
            ["--config.algorithm.correction=token_mask", "--config.algorithm.old_logprobs=sampler"],
            ["correction='token_mask'", "old_logprobs='sampler'"],
        ),
        (
            ["--config.algorithm.advantage=batch", "--config.algorithm.group_size=1", "--config.algorithm.resample=1"],
            ["resample=1", "group_size is 1"],
        ),
        (["--preset=dapo", "--config.algorithm.advantage=reward"], ["resample=9", "advantage='reward'"]),
        (["--config.sampling.ahead=2"], ["sampling.ahead=2", "expected 0 or 1"]),
        (["--config.sampling.ahead=1"], ["correction='none'", "sampling.ahead=1", "expected 'token_truncate'"]),
        (
            ["--config.sampling.ahead=1", "--config.algorithm.old_logprobs=sampler"],
            ["old_logprobs='sampler'", "sampling.ahead=1"],
        ),
        (
            ["--preset=dapo", "--config.sampling.ahead=1", "--config.algorithm.correction=token_mask"],
            ["sampling.ahead=1", "resample=9"],
        ),
        (["--preset=dr_grpo", "--config.algorithm.kl_limit=10"], ["kl_limit=10", "kl_coef is 0"]),
        (["--preset=sapo", "--config.algorithm.sapo_negative=0"], ["sapo_negative=0", "more than 0"]),
        (["--config.algorithm.advantage=gae"], ["advantage='gae'", "critic.kind='none'"]),
        (["--config.critic.kind=separate"], ["critic.kind='separate'", "advantage='group'"]),
        (["--config.critic.gamma=0.9"], ["critic.gamma=0.9", "critic.kind is 'none'"]),
        (["--preset=rloo", "--config.critic.whiten=false"], ["critic.whiten=False", "critic.kind is 'none'"]),
        (["--preset=rloo", "--config.algorithm.eps=0.1"], ["eps=0.1", "advantage='leave_one_out'"]),
        (
            ["--preset=ppo", "--config.critic.whiten=false", "--config.algorithm.eps=0.1"],
            ["eps=0.1", "advantage='gae'"],
        ),
        (["--preset=ppo", "--config.critic.coef=0.3"], ["critic.coef=0.3", "critic.kind='separate'"]),
        (["--preset=ppo", "--config.critic.pretrain_steps=6"], ["critic.pretrain_steps=6", "config.steps=6"]),
        (
            ["--preset=ppo", "--config.critic.kind=shared", "--config.critic.pretrain_steps=1"],
            ["critic.pretrain_steps=1", "critic.kind='shared'"],
        ),
        (
            ["--preset=ppo", "--config.critic.kind=shared", "--config.critic.learning_rate=1e-3"],
            ["critic.learning_rate=0.001", "critic.kind='shared'"],
        ),
        (
            ["--preset=ppo", "--config.critic.kind=shared", "--config.model.lora_rank=2"],
            ["critic.kind='shared'", "adapters"],
        ),
        (["--preset=ppo", "--config.critic.kind=seperate"], ["critic.kind='seperate'", "did you mean 'separate'"]),
        (["--preset=ppo", "--config.critic.gae_lambda=1.5"], ["critic.gae_lambda=1.5", "0 to 1"]),
        (["--preset=ppo", "--config.critic.value_clip=-1"], ["critic.value_clip=-1", "at least 0"]),
        (["--preset=ppo", "--config.critic.path=/no/such/folder"], ["critic.path='/no/such/folder'", "no such folder"]),
    ],
    ids=lambda x: x[0] if isinstance(x, list) else x,
)
def test_settings_that_contradict_each_other(flags, told, tiny_model, refusal, tmp_path):
    """Both are named. The preset comes first, whatever the order of the flags is."""
    small = [flag for flag in SMALL if "kl_coef" not in flag]
    base = ["--config=configs/grpo_math.py:tiny", f"--workdir={tmp_path}/run", f"--config.model.path={tiny_model}"]
    line = refusal(train.main, [*base, *small, *flags])
    assert all(part in line for part in told), line


@pytest.mark.parametrize(
    "config, flag, recipe, value",
    [
        ("dpo_math", "--preset=dapo", "preference", "token_mean"),
        ("sft_math", "--config.algorithm.reduction=sequence_sum", "supervised", "sequence_sum"),
    ],
)
def test_a_reduction_of_another_recipe(config, flag, recipe, value, refused):
    line = refused(flag, config=f"configs/{config}.py:tiny", small=False)
    assert f"config.algorithm.reduction='{value}'" in line and f"config.recipe='{recipe}'" in line
    assert "unknown" not in line and "'sequence_mean'" in line


@pytest.mark.parametrize(
    "flag, told",
    [
        ("--config.algorithm.group_sise=4", ["config.algorithm.group_sise", "did you mean 'group_size'"]),
        ("--config.algoritm.group_size=4", ["config.algoritm.group_size", "did you mean 'algorithm'"]),
        ("--config.algorithm.group_size=four", ["config.algorithm.group_size", "four", "int"]),
        ("--config.algorithm.learning_rate=fast", ["config.algorithm.learning_rate", "fast", "float"]),
        ("--config.algorithm.group_size=3", ["config.algorithm.group_size=3", "divisor", "batch_size=8"]),
        ("--config.algorithm.group_size=1", ["config.algorithm.group_size=1", "at least 2"]),
        ("--config.algorithm.minibatches=3", ["config.algorithm.minibatches=3", "divisor"]),
        ("--config.algorithm.micro_batch=-1", ["config.algorithm.micro_batch=-1", "at least 0"]),
        ("--config.algorithm.batch_size=512", ["128", "64"]),
        ("--config.algorithm.reduction=mean", ["config.algorithm.reduction='mean'", "token_mean"]),
        ("--config.algorithm.surrogate=cipso", ["config.algorithm.surrogate='cipso'", "did you mean 'cispo'"]),
        ("--config.algorithm.kl_estimator=k4", ["config.algorithm.kl_estimator='k4'"]),
        ("--config.algorithm.kl_estimator=k2_weighted", ["kl_estimator='k2_weighted'", "did you mean 'k3_weighted'"]),
        ("--config.algorithm.dual_clip=0.9", ["config.algorithm.dual_clip=0.9", "more than 1"]),
        ("--config.algorithm.sapo_positive=2", ["config.algorithm.sapo_positive=2", "surrogate='clip'"]),
        ("--config.algorithm.kl_limit=-1", ["config.algorithm.kl_limit=-1", "at least 0"]),
        ("--config.algorithm.correction_limit=3", ["correction_limit=3", "config.algorithm.correction is 'none'"]),
        ("--config.algorithm.entropy_coef=-1", ["config.algorithm.entropy_coef=-1", "at least 0"]),
        ("--config.algorithm.old_logprobs=none", ["config.algorithm.old_logprobs='none'", "trainer"]),
        ("--config.algorithm.resample=-1", ["config.algorithm.resample=-1", "at least 0"]),
        ("--config.reward.overlong=13", ["config.reward.overlong=13", "config.sampling.max_length=12"]),
        ("--preset=dappo", ["--preset=dappo", "did you mean 'dapo'"]),
        ("--config.algorithm.learning_rate=0", ["config.algorithm.learning_rate=0", "more than 0"]),
        ("--config.algorithm.learning_rate=inf", ["config.algorithm.learning_rate=inf", "a finite number"]),
        ("--config.algorithm.clip_low=inf", ["config.algorithm.clip_low=inf", "a finite number"]),
        ("--config.preference.beta=inf", ["config.preference.beta=inf", "a finite number"]),
        ("--config.algorithm.kl_coef=nan", ["config.algorithm.kl_coef=nan", "a finite number"]),
        ("--config.algorithm.schedule=linear", ["config.algorithm.schedule='linear'", "cosine"]),
        ("--config.algorithm.kl_coef=-1", ["config.algorithm.kl_coef=-1", "at least 0"]),
        ("--config.sampling.batch_size=6", ["config.sampling.batch_size=6", "divisor"]),
        ("--config.sampling.temperature=0", ["config.sampling.temperature=0", "more than 0"]),
        ("--config.sampling.top_p=1.5", ["config.sampling.top_p=1.5", "at most 1"]),
        ("--config.sampling.max_length=0", ["config.sampling.max_length=0", "at least 1"]),
        ("--config.steps=-1", ["config.steps=-1", "at least 1"]),
        ("--config.checkpoint.every=0", ["config.checkpoint.every=0", "at least 1"]),
        ("--config.checkpoint.keep_best=1", ["config.checkpoint.keep_best=1", "config.evaluation.every=3 to divide"]),
        ("--config.watchdog=-1", ["config.watchdog=-1", "seconds"]),
        ("--config.profile=5-3", ["config.profile='5-3'", "3-5"]),
        ("--config.evaluation.samples=-1", ["config.evaluation.samples=-1", "at least 0"]),
        ("--config.evaluation.temperature=-0.5", ["config.evaluation.temperature=-0.5", "0 (greedy) or more"]),
        ("--config.recipe=policy_gradients", ["config.recipe='policy_gradients'", "did you mean 'policy_gradient'"]),
        ("--config.reward.names=('acuracy','format')", ["config.reward.names='acuracy'", "did you mean 'accuracy'"]),
        ("--config.reward.names=('no_such_module:f','format')", ["config.reward.names", "no_such_module"]),
        ("--config.reward.weights=(1.0,)", ["config.reward.weights=(1.0,)", "2 weights"]),
        ("--config.reward.timeout=-1", ["config.reward.timeout=-1", "0 for each reward's own"]),
        ("--config.reward.workers=0", ["config.reward.workers=0", "at least 1"]),
        ("--config.data.name=gsm8", ["config.data.name='gsm8'", "did you mean 'gsm8k'"]),
        ("--config.data.name=/no/such/file.jsonl", ["/no/such/file.jsonl", "No such file"]),
        ("--config.data.split=validation", ["config.data.split='validation'", "train"]),
        ("--config.data.template=questoin", ["config.data.template='questoin'", "did you mean 'question'"]),
        ("--config.data.template=boxed", ["config.data.template='boxed'", "chat template"]),
        (
            "--config.data.max_prompt_length=20",
            ["config.data.max_prompt_length=20", "word_problems/train/0/", "tokens"],
        ),
        ("--config.model.path=/no/such/folder", ["config.model.path='/no/such/folder'", "no such folder"]),
        ("--config.model.dtype=float16", ["config.model.dtype='float16'", "bfloat16"]),
        ("--config.model.remat=all", ["config.model.remat='all'", "layer"]),
        ("--config.model.offload=('critic',)", ["config.model.offload=('critic',)", "optimizer, reference"]),
        ("--config.mesh.fsdp=3", ["config.mesh", "3", "8 devices"]),
        ("--config.mesh.data=-1", ["config.mesh", "at most one"]),
        ("--config.mesh.tensor=0", ["config.mesh.tensor=0", "positive"]),
        ("--config.mesh.data=3", ["config.mesh", "8 devices"]),
        ("--verbose", ["--verbose", "unknown flag"]),
        ("--wrkdir=elsewhere", ["--wrkdir", "did you mean 'workdir'"]),
        ("stray", ["stray", "--name=value"]),
    ],
)
def test_flags(refused, flag, told):
    line = refused(flag)
    for part in told:
        assert part in line


def test_unknown_variant(refused):
    line = refused(config="configs/grpo_math.py:tinny", small=False)
    assert "configs/grpo_math.py:tinny" in line and "did you mean 'tiny'" in line


def test_missing_config_file(refused):
    assert "configs/grpo.py" in refused(config="configs/grpo.py", small=False)


def _copy(model, folder, **changes):
    """The model's folder with some files removed (None) or replaced."""
    shutil.copytree(model, folder)
    for name, content in changes.items():
        name = name.replace("__", ".")
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"config__json": None}, ["config.json"]),
        ({"config__json": b"{"}, ["config.json", "JSON"]),
        ({"config__json": b'{"model_type": "qwen2"}'}, ["config.json", "vocab_size"]),
        ({"config__json": b'{"model_type": "mamba"}'}, ["model_type='mamba'", "qwen2"]),
        ({"model__safetensors": None}, ["safetensors"]),
        ({"model__safetensors": None, "pytorch_model__bin": b"pickle"}, ["pytorch_model.bin", "safetensors"]),
        ({"model__safetensors": b"not a file of tensors"}, ["safetensors"]),
        ({"tokenizer__json": None}, ["tokenizer"]),
    ],
)
def test_model_folder(refused, tiny_model, tmp_path, changes, told):
    folder = _copy(tiny_model, tmp_path / "model", **changes)
    line = refused(f"--config.model.path={folder}")
    assert str(folder) in line
    for part in told:
        assert part in line


def test_weights_of_another_shape(refused, tiny_model, tmp_path):
    config = json.loads((tiny_model / "config.json").read_text()) | {"intermediate_size": 96}
    folder = _copy(tiny_model, tmp_path / "model", config__json=json.dumps(config).encode())
    line = refused(f"--config.model.path={folder}")
    assert "mlp" in line and "96" in line and str(folder) in line


def test_tokenizer_without_end_of_sequence(refused, tiny_model, tmp_path):
    settings = json.loads((tiny_model / "tokenizer_config.json").read_text()) | {"eos_token": None}
    folder = _copy(tiny_model, tmp_path / "model", tokenizer_config__json=json.dumps(settings).encode())
    line = refused(f"--config.model.path={folder}")
    assert str(folder) in line and "end-of-sequence" in line


@pytest.mark.parametrize(
    "row, told",
    [
        ('{"problem": "1+2?"}', ["line 2", "`answer`"]),
        ('{"problem": "", "answer": "3"}', ["line 2", "`problem`"]),
        ('{"problem": "1+2?", "answer": "3"', ["line 2", "JSON"]),
        ("[1]", ["line 2", "JSON object"]),
    ],
)
def test_row_of_a_data_file(refused, tmp_path, row, told):
    file = tmp_path / "data.jsonl"
    file.write_text('{"problem": "1+1?", "answer": "2"}\n' + row + "\n")
    line = refused(f"--config.data.name={file}")
    assert str(file) in line
    for part in told:
        assert part in line


@pytest.mark.parametrize(
    "flag, told",
    [
        ("--config.data.solutions=((0, (('worke', 1.0),)),)", ["config.data.solutions", "did you mean 'worked'"]),
        ("--config.data.solutions=()", ["config.data.solutions"]),
        ("--config.sampling.max_length=20", ["config.sampling.max_length=20", "tokens"]),
        ("--config.model.shape.hiden_size=4", ["config.model.shape.hiden_size", "did you mean 'hidden_size'"]),
        ("--config.model.tokenizer_size=100", ["config.model.tokenizer_size=100", "at least"]),
    ],
)
def test_supervised(refused, flag, told):
    line = refused(flag, config="configs/sft_tiny.py:tiny", small=False)
    for part in told:
        assert part in line


@pytest.mark.parametrize(
    "config, flag, told",
    [
        ("sft", "--config.algorithm.reduction=sequence_sum", ["reduction='sequence_sum'", "'sequence_mean'"]),
        ("sft", "--config.algorithm.kl_coef=0.1", ["kl_coef=0.1", "is not read"]),
        ("sft", "--config.data.row_length=60", ["config.data.row_length=60", "problem 'word_problems/train/0/"]),
        ("sft", "--config.data.long_prompts=cut", ["config.data.long_prompts='cut'", "drop"]),
        ("sft", "--config.collect.samples=2", ["config.collect.samples=2", "is not read"]),
        ("rft", "--config.collect.samples=0", ["config.collect.samples=0", "at least 1"]),
        ("rft", "--config.collect.keep=-1", ["config.collect.keep=-1", "at least 0"]),
        ("rft", "--config.data.row_length=100", ["config.data.row_length=100", "prompt with its completion"]),
        ("rft", "--config.sampling.temperature=0", ["config.collect.samples=8", "expected 1 at temperature 0"]),
        ("rft", "--config.reward.names=('model',)", ["config.reward.names=('model',)", "no 'model'"]),
        ("rft", "--config.reward.overlong=5", ["config.reward.overlong=5", "is not read"]),
        ("rft", "--config.data.solutions=((0, (('worked', 1.0),)),)", ["config.data.solutions", "is not read"]),
        ("dpo", "--config.preference.beta=0", ["config.preference.beta=0.0", "more than 0"]),
        ("dpo", "--config.preference.most=0", ["config.preference.most=0", "at least 1"]),
        ("dpo", "--config.algorithm.reduction=token_mean", ["reduction='token_mean'", "'sequence_mean'"]),
        ("dpo", "--config.data.row_length=100", ["config.data.row_length=100", "is not read"]),
        ("dpo", "--config.preference.pairs=/no/such/file.jsonl", ["config.collect.samples=8", "names a file"]),
        ("dpo", "--config.model.lora_path=adapters", ["config.model.lora_path='adapters'", "beneath adapters"]),
        ("grpo", "--config.preference.beta=0.5", ["config.preference.beta=0.5", "is not read"]),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_offline_recipes(refused, config, flag, told):
    line = refused(flag, config=f"configs/{config}_math.py:tiny", small=False)
    for part in told:
        assert part in line, line


@pytest.mark.parametrize(
    "flags, told",
    [
        (["teacher="], ["config.distillation.teacher=''", "Hugging Face"]),
        (["teacher=/no/such/folder"], ["config.distillation.teacher='/no/such/folder'", "no such folder"]),
        (["teacher=checkpoints/tiny_orm"], ["'checkpoints/tiny_orm'", "a language model"]),
        (["divergence=reverse_lk"], ["config.distillation.divergence='reverse_lk'", "did you mean 'reverse_kl'"]),
        (["beta=0.3"], ["config.distillation.beta=0.3", "divergence='reverse_kl'"]),
        (["divergence=jsd", "beta=1.0"], ["config.distillation.beta=1.0", "less than 1"]),
        (["temperature=0"], ["config.distillation.temperature=0", "more than 0"]),
        (["top_k=-1"], ["config.distillation.top_k=-1", "at least 0"]),
        (["top_k=401"], ["config.distillation.top_k=401", "at most 400"]),
        (["on_policy=1.5"], ["config.distillation.on_policy=1.5", "0 to 1"]),
        (["on_policy=0.5"], ["config.distillation.completions=''", "on_policy=0.5"]),
        (["completions=file.jsonl"], ["config.distillation.completions='file.jsonl'", "on_policy is 1"]),
        (["on_policy=0.0", "completions=file.jsonl"], ["config.algorithm.group_size=4", "on_policy is 0"]),
        (["on_policy=0.5", "completions=/no/such.jsonl"], ["/no/such.jsonl", "No such file"]),
    ],
    ids=lambda x: x[-1] if isinstance(x, list) else "",
)
def test_distillation(refused, tiny_model, flags, told):
    named = ["--config.recipe=distillation", f"--config.distillation.teacher={tiny_model}"]
    line = refused(*named, *(f"--config.distillation.{flag}" for flag in flags))
    for part in told:
        assert part in line, line


@pytest.mark.parametrize(
    "flag, told",
    [
        ("--config.algorithm.kl_coef=0.1", ["kl_coef=0.1", "by distillation"]),
        ("--config.reward.names=('marked_number','model')", ["config.reward.names", "no 'model'"]),
        ("--config.recipe=policy_gradient", ["config.distillation.teacher=", "by policy-gradient training"]),
        ("--config.algorithm.batch_size=6", ["config.algorithm.group_size=4", "divisor"]),
    ],
)
def test_distillation_and_other_keys(refused, tiny_model, flag, told):
    line = refused("--config.recipe=distillation", f"--config.distillation.teacher={tiny_model}", flag)
    for part in told:
        assert part in line, line


def test_teacher_of_another_tokenizer(refused, tiny_model):
    """Both are named, and the first token that differs."""
    line = refused("--config.recipe=distillation", "--config.distillation.teacher=checkpoints/tiny")
    for part in ("config.distillation.teacher='checkpoints/tiny'", f"config.model.path={str(tiny_model)!r}", "token "):
        assert part in line, line
    ours, theirs = (load_tokenizer(str(folder)).convert_ids_to_tokens for folder in (tiny_model, "checkpoints/tiny"))
    first = next(id for id in range(400) if ours(id) != theirs(id))
    assert f"token {first} is {theirs(first)!r} of the teacher, {ours(first)!r} of the student" in line


WRITTEN = {"problem": "1+1?", "completion": "2"}


@pytest.mark.parametrize(
    "row, told",
    [
        ({"problem": "1+1?"}, ["line 2", "no `completion`"]),
        (WRITTEN | {"finish": "end"}, ["line 2", "'end' as `finish`"]),
        (
            WRITTEN | {"id": "long", "completion": "2" * 20},
            ["row 'long' has 21 tokens", "config.sampling.max_length=12"],
        ),
        (WRITTEN, ["config.algorithm.batch_size=8", "2 completions"]),
    ],
    ids=str,
)
def test_bad_completions(refused, tiny_model, tmp_path, row, told):
    file = tmp_path / "completions.jsonl"
    file.write_text(json.dumps(WRITTEN) + "\n" + json.dumps(row) + "\n")
    named = ("--config.recipe=distillation", f"--config.distillation.teacher={tiny_model}")
    line = refused(*named, "--config.distillation.on_policy=0.5", f"--config.distillation.completions={file}")
    for part in (str(file), *told):
        assert part in line, line


GOOD = {"problem": "1+1?", "chosen": "2", "rejected": "3"}


@pytest.mark.parametrize(
    "row, told",
    [
        ({"problem": "1+1?", "chosen": "2"}, ["line 2", "no `rejected`"]),
        (GOOD | {"chosen": " "}, ["line 2", "`chosen`"]),
        (GOOD | {"rejected": 3}, ["line 2", "3 as `rejected`"]),
        (GOOD | {"rejected": "2"}, ["line 2", "the same"]),
        (GOOD | {"id": "long", "rejected": "2" * 200}, ["pair 'long'", "config.sampling.max_length=80"]),
        (GOOD, ["config.algorithm.batch_size=32", "2 pairs"]),
    ],
    ids=str,
)
def test_bad_pairs(refused, tmp_path, row, told):
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps(GOOD) + "\n" + json.dumps(row) + "\n")
    flags = (f"--config.preference.pairs={file}", "--config.collect.samples=64")
    line = refused(*flags, config="configs/dpo_math.py:tiny", small=False)
    for part in (str(file) if "line 2" in told else "", *told):
        assert part in line, line


def test_file_without_pairs(refused, tmp_path):
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n")
    flags = (f"--config.preference.pairs={file}", "--config.collect.samples=64")
    assert f"{file}: holds no pairs" in refused(*flags, config="configs/dpo_math.py:tiny", small=False)


def test_supervised_data_without_solutions(refused, tmp_path):
    file = tmp_path / "data.jsonl"
    file.write_text('{"problem": "1+1?", "answer": "2"}\n')
    line = refused(f"--config.data.name={file}", config="configs/sft_tiny.py:tiny", small=False)
    assert "solution" in line and "'1'" in line


# The commands themselves.


def _refused_command(commands, workdir, *flags):
    before = contents(workdir) if workdir.exists() else None
    done = commands.run(commands.grpo(workdir, *flags), JAX_LOG_COMPILES="1")
    assert done.returncode == 2
    # jax would log each compilation here.
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == ""
    assert (contents(workdir) if workdir.exists() else None) == before
    return done.stderr


def test_folder_of_another_run(commands, finished_run, tmp_path):
    shutil.copytree(finished_run, tmp_path / "run")
    line = _refused_command(commands, tmp_path / "run", "--config.algorithm.learning_rate=0.5")
    assert str(tmp_path / "run") in line and "config.algorithm.learning_rate" in line and "0.5" in line


def test_folder_that_is_no_run(commands, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    assert "thesis.tex" in _refused_command(commands, tmp_path / "run")


def test_weight_that_is_no_number(commands, tiny_model, tmp_path):
    """It is found while the weights are read, and the run's folder is made after that."""
    tensors = load_file(tiny_model / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    tensors[name][3, 2] = np.nan
    folder = _copy(tiny_model, tmp_path / "model", model__safetensors=save(tensors, {"format": "pt"}))
    done = commands.run(commands.grpo(tmp_path / "run", f"--config.model.path={folder}"))
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    assert str(folder) in done.stderr and name in done.stderr
    assert not (tmp_path / "run").exists()


def test_pickled_weights(commands, tiny_model, tmp_path):
    folder = _copy(tiny_model, tmp_path / "model", model__safetensors=None, pytorch_model__bin=b"pickle")
    line = _refused_command(commands, tmp_path / "run", f"--config.model.path={folder}")
    assert "pytorch_model.bin" in line and str(folder) in line


def test_misspelt_key(commands, tmp_path):
    assert "did you mean 'group_size'" in _refused_command(commands, tmp_path / "run", "--config.algorithm.grup_size=4")


def test_more_devices_than_there_are(commands, tmp_path):
    line = _refused_command(commands, tmp_path / "run", "--config.mesh.fsdp=4")
    assert "config.mesh" in line and "1 devices" in line


def test_rewards_of_a_user_are_found(commands, tmp_path):
    """The name of the module is right and that of the function is not."""
    line = _refused_command(commands, tmp_path / "run", "--config.reward.names=('user_rewards:leters',)")
    assert "config.reward.names='user_rewards:leters'" in line


@pytest.mark.parametrize("config", ["grpo", "rft", "dpo", "orm", "sft"])
def test_answers_that_the_reward_cannot_read(refused, tmp_path, config):
    """Of the problems that are trained on, where completions are graded, and of the held-out ones."""
    file = tmp_path / "data.jsonl"
    rows = [{"id": f"p{i}", "problem": "How many?", "answer": "many" if i == 3 else str(i)} for i in range(64)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    key = "config.evaluation.name" if config == "sft" else "config.data.name"
    line = refused(
        f"--{key}={file}",
        "--config.reward.names=('number',)",
        "--config.reward.weights=(1.0,)",
        config=f"configs/{config}_math.py:tiny",
        small=config == "grpo",
    )
    for part in ("data.jsonl", "'p3'", "'many'", "config.data.unreadable='drop'"):
        assert part in line
