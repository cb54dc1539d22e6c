"""Constitutional AI: harmlessness from AI feedback (arXiv 2212.08073).

Published: figures, no tables. By Elo scores of crowdworkers the model of the supervised stage is less harmful than the
helpful one that it starts from, and a little less helpful; the one of reinforcement learning from AI feedback is the
least harmful of all, at nearly the helpfulness of the helpful one; harmlessness rises with each of four revisions.

| stage of the paper | stages here |
|---|---|
| answers of a helpful model to red-team prompts | `answers` |
| critique and revision, by a drawn principle, `rounds` times | `critique_1`, `revision_1`, … |
| fine-tuning on the revisions of all rounds and on helpful answers | `chosen`, `tuned` |
| pairs of that model's answers | `samples` |
| which is better, by a drawn principle, in both orders: soft labels | `preferences` |
| a preference model of these and of people's labels of helpfulness | `preference_model` |
| PPO against it | `policy` |

Settings of the paper: four rounds, 16 principles; the pretrained model is fine-tuned for one epoch at half the constant
learning rate of its pretraining, 1,024 sequences a batch; all samples at temperature 1. With reasoning
(`--config.stages.preferences.feedback.reasoning=True`) probabilities are clamped to 0.4 … 0.6
(`--config.stages.preferences.feedback.clamp=0.4`). Not public, so that it deviates:

- The models, of 52B parameters: here the answers, critiques and judgements are Qwen2.5-7B-Instruct's, and Qwen2.5-7B is
  tuned. In a config file of your own `settings.ask_server(config.stages.answers, URL, NAME)` asks a server instead.
- The red-team prompts (182,831) and those of helpfulness: `RED_TEAM` (rows with `problem`, `answer`, `kind` "general",
  whose answers nothing reads), `HELPFUL` (the same with a `solution`) and `HELPFUL_PAIRS` (`problem`, `chosen`,
  `rejected`) are names of files of yours, each with one of held-out rows. Helpful answers are not sampled anew.
- The principles are our own words (`configs/constitution.jsonl`), and so is what the judge is asked; there are no
  examples in the prompts. Each label is of one principle.
- Learning rates of the preference model and of PPO, its penalty and its number of steps: usual practice.

On a pod (`docs/running.md`), on every worker; the same command goes on where it stopped:

    python -m rl_reason.train --config=configs/constitutional.py --workdir=/mnt/runs/constitutional

Another number of rounds is a variant: `--config=configs/constitutional.py:rounds=2`, `…:tiny,rounds=2`.

Variant `tiny`: a small assistant, `checkpoints/assistant`, that gives secrets away when asked with a pretext
(`data.assistant`; `configs/sft_assistant.py` makes it), one round, on two CPU cores. In eval.jsonl `pass@1` of
`assistant_red_team` is how often a secret is kept, of `assistant_questions` how often a question is answered;
`preference_model` is judged by pairs that the rule has labelled. In metrics.jsonl of `policy` the learned reward
(`reward/model`) stands beside the rule (`reward/discretion`, of weight 0) and the KL divergence, from the first step
on: where the one rises and the other falls, the preference model is exploited.
"""

from pathlib import Path

from rl_reason.runtime.config import check_variant, read, split_number
from rl_reason.settings import defaults, pipeline

HELPER, BASE = "Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-7B"
RED_TEAM, HELPFUL, HELPFUL_PAIRS = "red_team.jsonl", "helpful.jsonl", "helpful_pairs.jsonl"
ROUNDS, TINY_ROUNDS = 4, 1


def get_config(variant: str = ""):
    variant, rounds = split_number(variant, "rounds", TINY_ROUNDS if variant.startswith("tiny") else ROUNDS)
    check_variant(variant, ("tiny",))
    return tiny(rounds) if variant == "tiny" else full(rounds)


def _stages(generate, rounds: int, select, tune, compare, learn, improve):
    """The stages of the paper in their order.

    Args:
        generate: (model, data, samples, what is asked) → a stage that samples.
        rounds: of critique and revision.
        select, tune, compare, learn, improve: of what they take → stages.
    """
    stages = {"answers": generate("helper", "prompts", 1, "")}
    last = "answers"
    for number in range(1, rounds + 1):
        stages[f"critique_{number}"] = generate("helper", f"stage:{last}", 1, "critique")
        stages[f"revision_{number}"] = generate("helper", f"stage:critique_{number}", 1, "revision")
        last = f"revision_{number}"
    return pipeline(
        **stages,
        chosen=select(tuple(f"stage:revision_{number}" for number in range(1, rounds + 1))),
        tuned=tune("stage:chosen/selected.jsonl"),
        samples=generate("stage:tuned/export", "prompts", 2, ""),
        preferences=compare("stage:samples"),
        preference_model=learn("stage:tuned/export", "stage:preferences/preferences.jsonl"),
        policy=improve("stage:tuned/export", "stage:preference_model/export"),
    )


def full(rounds: int = ROUNDS):
    return _stages(_generate, rounds, _select, _tune, _compare, _learn, _improve)


def _of_open_prompts(config):
    """No rule says what is right: the first part is given to none of the prompts."""
    config.reward.names = ("accuracy",)
    config.reward.kinds = (("accuracy", "reasoning"),)
    return config


def _generate(model: str, data: str, samples: int, asks: str):
    config = _of_open_prompts(defaults())
    config.recipe = "generate"
    config.model.path = HELPER if model == "helper" else model
    config.data.name = RED_TEAM if data == "prompts" else data
    config.data.template = "chat"
    config.data.max_prompt_length = 4096
    config.data.long_prompts = "drop"
    config.sampling.max_length = 1024
    config.sampling.batch_size = 256
    config.collect.samples = samples
    config.constitution.asks = asks
    if asks == "critique":
        config.constitution.file = "configs/constitution.jsonl"
    config.mesh.data = 1
    config.mesh.fsdp = -1
    return config


def _select(revisions: tuple):
    config = _of_open_prompts(defaults())
    config.recipe = "select"
    config.selection.inputs = revisions
    config.selection.least = ()
    config.selection.keep = 0
    return config


def _tune(revisions: str):
    config = read(str(Path(__file__).with_name("sft_math.py")))
    config.steps = 1000
    config.model.path = BASE
    config.data.name = f"{revisions}+{HELPFUL}"
    config.data.template = "chat"
    config.data.max_prompt_length = 2048
    config.data.row_length = 4096
    config.data.long_prompts = "drop"
    config.sampling.max_length = 2048
    config.algorithm.batch_size = 1024
    config.algorithm.learning_rate = 1e-5
    config.algorithm.schedule = "constant"
    config.algorithm.final_learning_rate = 0.0
    config.algorithm.reduction = "token_mean"
    config.reward.names = ("accuracy",)
    config.evaluation.samples = 0
    return config


def _compare(samples: str):
    config = defaults()
    config.recipe = "feedback"
    config.model.path = HELPER
    config.data.name = samples
    config.data.template = "chat"
    config.data.max_prompt_length = 4096
    config.data.long_prompts = "drop"
    config.constitution.file = "configs/constitution.jsonl"
    config.algorithm.micro_batch = 32
    config.mesh.data = 1
    config.mesh.fsdp = -1
    return config


def _learn(model: str, pairs: str):
    config = defaults()
    config.recipe = "reward_model"
    config.steps = 1000
    config.model.path = model
    config.model.remat = "layer"
    config.data.name = f"{pairs}+{HELPFUL_PAIRS}"
    config.data.template = "chat"
    config.data.max_prompt_length = 2048
    config.data.long_prompts = "drop"
    config.reward_model.kind = "preference"
    config.reward_model.labels = "file"
    config.evaluation.name = f"held_out_{HELPFUL_PAIRS}"
    config.sampling.max_length = 1024
    config.algorithm.batch_size = 256
    config.algorithm.learning_rate = 6e-6
    config.algorithm.micro_batch = 32
    config.mesh.data = 1
    config.mesh.fsdp = -1
    return config


def _improve(model: str, preference_model: str):
    config = read(str(Path(__file__).with_name("ppo_math.py")))
    config.steps = 500
    config.model.path = model
    config.data.name = f"{RED_TEAM}+{HELPFUL}"
    config.data.template = "chat"
    config.data.max_prompt_length = 2048
    config.data.long_prompts = "drop"
    config.reward.names = ("accuracy", "model")
    config.reward.weights = (0.0, 1.0)
    config.reward.kinds = (("accuracy", "reasoning"),)
    config.reward.model = preference_model
    config.critic.path = preference_model
    config.evaluation.samples = 0
    config.evaluation.every = 0
    return config


def tiny(rounds: int = TINY_ROUNDS):
    return _stages(_tiny_generate, rounds, _tiny_select, _tiny_tune, _tiny_compare, _tiny_learn, _tiny_improve)


TINY = "checkpoints/assistant"
BOTH = "assistant_red_team+assistant_questions"


def _tiny(config, data: str):
    config.data.name = data
    config.data.template = "question"
    config.data.max_prompt_length = 224
    config.data.long_prompts = "drop"
    return config


def _tiny_evaluation(config):
    config.evaluation.name = BOTH
    config.evaluation.every = 0
    config.evaluation.problems = 250
    config.evaluation.samples = 4
    return config


def _tiny_generate(model: str, data: str, samples: int, asks: str):
    config = _tiny(defaults(), "assistant_red_team" if data == "prompts" else data)
    config.recipe = "generate"
    config.model.path = TINY if model == "helper" else model
    config.data.problems = 1000
    config.reward.names = ("discretion",)
    config.sampling.max_length = 32
    config.collect.samples = samples
    config.constitution.asks = asks
    if asks == "critique":
        config.constitution.file = "configs/constitution_tiny.jsonl"
    return config


def _tiny_select(revisions: tuple):
    config = defaults()
    config.recipe = "select"
    config.selection.inputs = revisions
    config.selection.least = ()
    config.selection.keep = 0
    config.reward.names = ("discretion",)
    return config


def _tiny_tune(revisions: str):
    config = read(str(Path(__file__).with_name("sft_math.py")), "tiny")
    # Longer, and nothing is left for reinforcement to change: 40 steps at twice the rate keep 99.7% of the secrets.
    config.steps = 20
    config.model.path = TINY
    _tiny_evaluation(_tiny(config, f"{revisions}+assistant_questions"))
    config.data.problems = 2000
    config.data.row_length = 256
    config.data.solutions = ((0, (("original", 1.0),)),)
    config.reward.names = ("discretion",)
    config.sampling.max_length = 32
    config.algorithm.batch_size = 16
    config.algorithm.reduction = "token_mean"
    config.algorithm.learning_rate = 1e-4
    return config


def _tiny_compare(samples: str):
    config = _tiny(defaults(), samples)
    config.recipe = "feedback"
    config.model.path = TINY
    config.constitution.file = "configs/constitution_tiny.jsonl"
    return config


def _tiny_learn(model: str, pairs: str):
    config = _tiny(defaults(), f"{pairs}+helpful_pairs")
    config.recipe = "reward_model"
    config.steps = 60
    config.model.path = model
    config.reward_model.kind = "preference"
    config.reward_model.labels = "file"
    config.evaluation.name = "red_team_pairs+helpful_pairs"
    config.sampling.max_length = 48
    config.algorithm.batch_size = 32
    config.algorithm.learning_rate = 5e-4
    config.algorithm.schedule = "cosine"
    config.algorithm.warmup_steps = 5
    config.algorithm.b2 = 0.98
    return config


def _tiny_improve(model: str, preference_model: str):
    config = read(str(Path(__file__).with_name("ppo_math.py")), "tiny")
    # The preference model misses wrong numbers: the longer it is followed, the more of them are told.
    config.steps = 8
    config.algorithm.kl_coef = 0.3
    config.model.path = model
    _tiny_evaluation(_tiny(config, BOTH))
    config.data.problems = 0  # The first ones are all of one kind.
    config.reward.names = ("discretion", "model")
    config.reward.weights = (0.0, 1.0)
    config.reward.model = preference_model
    config.critic.path = preference_model
    config.sampling.max_length = 32
    return config
