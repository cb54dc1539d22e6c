"""DeepSeek-R1: four stages after R1-Zero (arXiv 2501.12948, version 1, section 2.3, and the supplement of
version 2; Nature 2025).

Published (AIME 2024 pass@1 / MATH-500): R1-Zero 71.0 / 95.9, R1 79.8 / 97.3 (version 1). The language-consistency
reward costs a little accuracy, and readers prefer what it gives.

| stage of the paper | stages here |
|---|---|
| R1-Zero, from the base | `zero` |
| cold start: long chains, by prompting and of R1-Zero | `few_shot`, `zero_samples`, `readable`, `rewritten` |
| … filtered, and learned | `cold_data`, `cold_start` |
| reinforcement learning of reasoning, with a reward for one language | `reasoning` |
| rejection sampling and fine-tuning of the base again | `samples`, `chosen`, `tuned` |
| reinforcement learning for all scenarios | `preferences`, `all` |

Settings of the paper: both stages of reinforcement learning as R1-Zero (learning rate 3e-6, β 0.001, 16 outputs of a
question), the first with ε 10 and temperature 1, the last with temperature 0.7 and 1,700 training steps, of which the
last 400 have general data and the preference model. Fine-tuning: 600K selected outputs and 200K others, 2 epochs,
learning rate 5e-5 to 5e-6 by a cosine, context 32,768, batch 128. Where it deviates:

- Base and questions are those of `configs/r1_zero_math.py`: Qwen2.5-32B, GSM8K and MATH. So it selects from 16 outputs
  of 15K questions, and two epochs of what is left are fewer steps; `--config.stages.tuned.steps=N` sets them.
- The cold start's thousands of chains were made from few-shot prompting and R1-Zero's outputs, and mended by people:
  here the base continues two long chains of ours (template `r1_few_shot`), R1-Zero rewrites its own right outputs
  (template `rewrite`), and rules keep those that are right, in one language and without repetitions, one of a question.
  `--config.stages.rewritten.model.path=DIR` has a better writer rewrite them.
- General data and preferences are not public: `GENERAL` (rows with `problem`, `answer`, `solution`, `kind` "general")
  and `PAIRS` (`problem`, `chosen`, `rejected`) below are names of files of yours. The helpful and the harmless reward
  model are one.
- The number of training steps of the first stage is not given: as many as R1-Zero's last third.

On a pod (`docs/running.md`), on every worker; the same command goes on where it stopped:

    python -m rl_reason.train --config=configs/r1_math.py --workdir=/mnt/runs/r1 '--config.stages.*.data.dir=DATA'

What its stages take on a slice can be planned by the files that they are made from:

    python -m rl_reason.plan --config=configs/r1_zero_math.py --topology=v5p:4x4x8
    python -m rl_reason.plan --config=configs/sft_math.py --config.data.row_length=32768 --topology=v5p:4x4x8

Variant `tiny`: word problems told in English or Chinese and short requests, with the shipped model of two languages,
whose stages took 19 to 21 minutes on one of two CPU cores. Its base works problems out in English four times as
often as in Chinese, and often in both at once: `language/mixed` in eval.jsonl is the share of completions that leave
the language of the question. It deviates in size and in learning rates; in what rewrites (`data.rewriting`, a rule; the
base is too small to go on with examples); and reinforcement learning is that of `configs/grpo_math.py:tiny` with
R1-Zero's clip ratio and KL term: questions by themselves for a template, steps of 128 completions, one minibatch, one
reference and one length limit throughout, and a format reward of weight 0.1. `configs/r1_zero_math.py:tiny` has the
rest.
"""

from pathlib import Path

from rl_reason import presets
from rl_reason.runtime.config import check_variant, read
from rl_reason.settings import defaults, pipeline

BASE = "Qwen/Qwen2.5-32B"
GENERAL = "general.jsonl"
PAIRS = "pairs.jsonl"
READABLE = (("accuracy", 1.0), ("format", 1.0), ("language", 0.99), ("repetition", 0.0))


def get_config(variant: str = ""):
    check_variant(variant, ("tiny",))
    return tiny() if variant == "tiny" else full()


def full():
    zero = _zero()
    few_shot = _generation(BASE, samples=4)
    few_shot.data.template = "r1_few_shot"
    cold_start = _tuning("stage:cold_data/selected.jsonl", epochs_of=8_000)
    reasoning = _zero()
    presets.r1_stage1(reasoning)
    reasoning.steps = 200
    reasoning.model.path = "stage:cold_start/export"
    reasoning.reward.names = ("accuracy", "format", "language")
    reasoning.reward.weights = (1.0, 1.0, 1.0)
    reasoning.sampling.max_length = 32_768
    reasoning.sampling.lengths = ()

    all_scenarios = _zero()
    presets.r1_stage1(all_scenarios)  # "Most of the parameters" of the first stage stay.
    all_scenarios.steps = 106  # 1,700 training steps are 106 rollouts of 16, the last 400 of them 25.
    all_scenarios.model.path = "stage:tuned/export"
    all_scenarios.data.name = f"gsm8k+math+{GENERAL}"
    all_scenarios.data.joins = ((GENERAL, 82),)
    all_scenarios.reward.names = ("accuracy", "format", "language", "model")
    all_scenarios.reward.weights = (1.0, 1.0, 1.0, 1.0)
    all_scenarios.reward.kinds = (("accuracy", "reasoning"), ("model", "general"))
    all_scenarios.reward.model = "stage:preferences/export"
    all_scenarios.sampling.temperature = 0.7
    all_scenarios.sampling.max_length = 32_768
    all_scenarios.sampling.lengths = ()

    return pipeline(
        zero=zero,
        zero_samples=_generation("stage:zero/export", samples=16),
        readable=_selection("stage:zero_samples"),
        rewritten=_rewriting("stage:zero/export", "stage:readable/selected.jsonl"),
        few_shot=few_shot,
        cold_data=_selection("stage:rewritten", "stage:few_shot"),
        cold_start=cold_start,
        reasoning=reasoning,
        samples=_generation("stage:reasoning/export", samples=16),
        chosen=_selection("stage:samples", keep=4),
        tuned=_tuning(f"stage:chosen/selected.jsonl+{GENERAL}", epochs_of=60_000),
        preferences=_preferences("stage:tuned/export"),
        all=all_scenarios,
    )


def _zero():
    return read(str(Path(__file__).with_name("r1_zero_math.py")))


def _generation(model: str, samples: int):
    config = defaults()
    config.recipe = "generate"
    config.model.path = model
    config.data.name = "gsm8k+math"
    config.data.template = "r1_zero"
    config.data.max_prompt_length = 1024
    config.data.long_prompts = "drop"
    config.data.unreadable = "drop"
    config.reward.names = ("accuracy",)
    config.sampling.max_length = 32_768
    config.sampling.temperature = 1.0
    config.sampling.batch_size = 256
    config.collect.samples = samples
    config.mesh.data = 1
    config.mesh.fsdp = -1
    config.mesh.sequence = 8
    return config


def _rewriting(model: str, data: str):
    config = _generation(model, samples=1)
    config.data.name = data
    config.data.template = "rewrite"
    config.data.max_prompt_length = 16_384
    return config


def _selection(*samples: str, keep: int = 1):
    config = defaults()
    config.recipe = "select"
    config.selection.inputs = samples
    config.selection.least = READABLE
    config.selection.keep = keep
    config.reward.names = tuple(name for name, _ in READABLE)
    config.reward.weights = (1.0,) * len(READABLE)
    return config


def _tuning(data: str, epochs_of: int):
    """Two epochs of so many examples, a few of which share a row."""
    config = read(str(Path(__file__).with_name("sft_math.py")))
    config.steps = max(2 * epochs_of // (128 * 8), 10)
    config.model.path = BASE
    config.data.name = data
    config.data.template = "r1_zero"
    config.data.row_length = 32_768
    config.sampling.max_length = 32_768
    config.algorithm.batch_size = 128
    config.algorithm.learning_rate = 5e-5
    config.algorithm.schedule = "cosine"
    config.algorithm.final_learning_rate = 5e-6
    config.algorithm.reduction = "token_mean"
    config.evaluation.name = "aime24"
    config.evaluation.every = 0
    config.evaluation.samples = 16
    config.evaluation.temperature = 0.6
    config.evaluation.top_p = 0.95
    config.mesh.sequence = 8
    return config


def _preferences(model: str):
    config = defaults()
    config.recipe = "reward_model"
    config.steps = 200
    config.model.path = model
    config.model.remat = "layer"
    config.data.name = PAIRS
    config.data.template = "r1_zero"
    config.data.max_prompt_length = 1024
    config.data.long_prompts = "drop"
    config.evaluation.name = f"held_out_{PAIRS}"
    config.reward_model.kind = "preference"
    config.reward_model.labels = "file"
    config.sampling.max_length = 4096
    config.algorithm.batch_size = 256
    config.algorithm.learning_rate = 6e-6
    config.algorithm.micro_batch = 32
    config.mesh.data = 1
    config.mesh.fsdp = -1
    return config


def tiny():
    zero = _tiny_learning("checkpoints/bilingual", ("marked_number", "format"), (1.0, 0.1), steps=25)

    samples = _tiny_generation("stage:zero/export", problems=600, samples=4)
    cold_data = _tiny_selection("stage:samples_of_zero")
    cold_data.selection.rewrite = "rl_reason.data.rewriting:readable"
    cold_start = _tiny_tuning("stage:cold_data/selected.jsonl", steps=25)

    one_language = ("marked_number", "format", "language"), (1.0, 0.1, 1.0)
    reasoning = _tiny_learning("stage:cold_start/export", *one_language, steps=100)

    names, weights = ("marked_number", "format", "language", "model"), (1.0, 0.1, 1.0, 0.5)
    everything = _tiny_learning("stage:tuned/export", names, weights, steps=35)
    everything.data.name = "replies+bilingual_problems"
    everything.data.problems = 3500  # 1,000 requests, and word problems
    everything.data.joins = (("replies", 11),)
    everything.evaluation.name = "bilingual_problems"
    everything.reward.kinds = (("marked_number", "reasoning"), ("model", "general"))
    everything.reward.model = "stage:preferences/export"
    everything.sampling.temperature = 0.7
    everything.algorithm.learning_rate = 5e-5  # At 2e-4 the requests cost 12 points of pass@1 (one seed).

    return pipeline(
        zero=zero,
        samples_of_zero=samples,
        cold_data=cold_data,
        cold_start=cold_start,
        reasoning=reasoning,
        samples=_tiny_generation("stage:reasoning/export", problems=2000, samples=4),
        chosen=_tiny_selection("stage:samples", keep=2),
        tuned=_tiny_tuning("stage:chosen/selected.jsonl+replies", steps=80),
        preferences=_tiny_preferences("stage:tuned/export"),
        all=everything,
    )


def _tiny_learning(model: str, names: tuple, weights: tuple, steps: int):
    config = read(str(Path(__file__).with_name("grpo_math.py")), "tiny")
    presets.r1_zero(config)
    config.steps = steps
    config.model.path = model
    config.data.name = "bilingual_problems"
    config.data.max_prompt_length = 96
    config.reward.names = names
    config.reward.weights = weights
    config.sampling.max_length = 120
    config.algorithm.b2 = 0.95
    config.evaluation.every = 0
    config.evaluation.problems = 250
    config.evaluation.samples = 4
    return config


def _tiny_generation(model: str, problems: int, samples: int):
    config = defaults()
    config.recipe = "generate"
    config.model.path = model
    config.data.name = "bilingual_problems"
    config.data.problems = problems
    config.data.template = "question"
    config.data.max_prompt_length = 96
    config.reward.names = ("marked_number",)
    config.sampling.max_length = 120
    config.collect.samples = samples
    return config


def _tiny_selection(samples: str, keep: int = 1):
    config = defaults()
    config.recipe = "select"
    config.selection.inputs = (samples,)
    config.selection.least = (("marked_number", 1.0), ("format", 1.0), ("language", 0.99), ("repetition", 0.0))
    config.selection.keep = keep
    config.reward.names = tuple(name for name, _ in config.selection.least)
    config.reward.weights = (1.0,) * 4
    return config


def _tiny_tuning(data: str, steps: int):
    config = read(str(Path(__file__).with_name("sft_math.py")), "tiny")
    config.steps = steps
    config.model.path = "checkpoints/bilingual"
    config.data.name = data
    config.data.problems = 0
    config.data.max_prompt_length = 96
    config.data.row_length = 240
    config.sampling.max_length = 120
    config.data.solutions = ((0, (("original", 1.0),)),)
    config.algorithm.batch_size = 16
    config.algorithm.reduction = "token_mean"
    config.algorithm.schedule = "cosine"
    config.algorithm.final_learning_rate = 1e-4
    config.evaluation.name = "bilingual_problems"
    config.evaluation.every = 0
    config.evaluation.problems = 250
    config.evaluation.samples = 4
    return config


def _tiny_preferences(model: str):
    config = defaults()
    config.recipe = "reward_model"
    config.steps = 60
    config.model.path = model
    config.data.name = "request_pairs"
    config.data.problems = 1000
    config.data.template = "question"
    config.data.max_prompt_length = 96
    config.reward_model.kind = "preference"
    config.reward_model.labels = "file"
    config.evaluation.name = "request_pairs"
    config.evaluation.problems = 200
    config.sampling.max_length = 120
    config.algorithm.batch_size = 32
    config.algorithm.learning_rate = 5e-4
    config.algorithm.schedule = "cosine"
    config.algorithm.warmup_steps = 5
    config.algorithm.b2 = 0.98
    return config
