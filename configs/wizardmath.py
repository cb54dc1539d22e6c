"""WizardMath: problems evolved downward and upward, then PPO whose reward is a model's score of the question times that
of the answer (arXiv 2308.09583).

Published (GSM8K / MATH pass@1): version 1, Llama-2 70B: 81.6 / 22.7.

| of the paper | stages here |
|---|---|
| Evol-Instruct, downward and upward | `downward_1`, `easier_1`, …, `upward_1`, `harder_1`, …: a round each |
| near-duplicates and contamination | `pool_original`, `pool_downward`, `pool_upward` |
| answers to the evolved problems | `answers_…`, `solved_…` |
| supervised fine-tuning: original → + downward → + upward | `tuned_original`, `tuned_downward`, `tuned_upward` |
| instruction reward model, of ranked instructions | `ranked`, `instruction_model` |
| process reward model | `process_model` |
| PPO, r_instruction · r_answer (version 1); r_answer = the least score of a step (version 3) | `product`, `minimum` |

`stages_table.json` is the ablation: the last evaluation of the three `tuned_…`, of `product` and of `minimum`.

The paper's settings that are followed are those of the reward: the model of instructions times the process model's
score of the solution, PPO, and the two lines of evolution. Its numbers for training (rounds, learning rates, batches)
do not stand in what this project cites, and are not claimed here: those of `configs/sft_math.py`, `prm_math.py` and
`ppo_math.py` hold. Where it deviates:

- GPT-4 evolves, answers and ranks in the paper. Here it is an open model, `EVOLVER`. In a config file of your own
  `settings.ask_server(config.stages.upward_1, URL, NAME)`, for each such stage, asks a server instead
  (`docs/pipelines.md`). Two rounds each way, or `--config=configs/wizardmath.py:rounds=N`.
- The evolver solves what it writes; of the answers to a problem only those are learned that agree with that.
- The ranking is a judge's, behind `JUDGE`: a score of difficulty, definition and completeness of each evolved problem.
- Steps are labelled by rollouts (Math-Shepherd), in place of GPT-4.
- The base is Qwen2.5-Math-7B, as in the other configs, in place of Llama-2 and Mistral.
- Problems for PPO are those of all three pools, once evolved; the paper evolves on while it trains.

Hardware: not compiled at this size, and not run.

    python -m rl_reason.train --config=configs/wizardmath.py --workdir=DIR

Variant `tiny`: generated word problems, for two CPU cores. Rules evolve them, exactly (`data.evolving`): an event less,
an event more; the instruction reward model learns from pairs that a rule ranks by difficulty, completeness and
definition, and a rule labels steps. A quarter of the texts that fine-tuning learns tell the answer only, so that there
is form left to reinforce: slips of calculation are nothing that a process model of this size sees. It deviates in size,
in learning rates, and in all that a rule does. Held out are the problems as they were and the harder ones. What is
seen: `experiments/wizardmath`.
"""

from pathlib import Path

from rl_reason.errors import UsageError
from rl_reason.runtime.config import check_variant, read, split_number
from rl_reason.settings import defaults, pipeline

HERE = Path(__file__).parent
BASE = "Qwen/Qwen2.5-Math-7B"
EVOLVER = "Qwen/Qwen2.5-72B-Instruct"
JUDGE = "http://127.0.0.1:8000/v1"
ROUNDS = 2
"""Each way."""
WAYS = {"downward": "easier", "upward": "harder"}
"""Line of evolution → what becomes of problems."""
POOLS = ("original", *WAYS)
HELD_OUT = "gsm8k+math"
RANKING = (
    "Here are a problem, and another one that somebody has made of it.\n\nProblem:\n{problem}\n\nIts answer: {answer}"
    "\n\nThe other one, at the end of this text:\n{completion}\n\n"
    "Judge the other one as an exercise, in a few words: how difficult it is; whether everything in it is defined, so "
    "that it has one answer; whether it is complete and can be understood by itself. Then end with one line of the form"
    "\nscore: X\nwhere X is a number from 0 (useless) to 1 (hard, defined and complete)."
)


def get_config(variant: str = ""):
    name, rounds = split_number(variant, "rounds", ROUNDS)
    check_variant(name, ("tiny",))
    if name == "tiny" and name != variant:
        raise UsageError(f"variant {variant!r}: the evolution by rules of 'tiny' has {ROUNDS} rounds; expected 'tiny'")
    return tiny() if name == "tiny" else full(rounds)


def full(rounds: int = ROUNDS):
    stages = {}
    for way, result in WAYS.items():
        source = "gsm8k+math"
        for number in range(1, rounds + 1):
            stages[f"{way}_{number}"] = _evolution(source, f"evolve_{way}", samples=4 if number == 1 else 1)
            stages[f"{result}_{number}"] = _evolved(f"stage:{way}_{number}")
            source = f"stage:{result}_{number}/selected.jsonl"
    for pool in POOLS:
        evolved = [f"stage:{WAYS[pool]}_{n}/selected.jsonl" for n in range(1, rounds + 1)] if pool in WAYS else []
        stages[f"pool_{pool}"] = _pool("+".join(evolved) or "gsm8k+math", HELD_OUT)
        stages[f"answers_{pool}"] = _answers(f"stage:pool_{pool}/kept.jsonl")
        stages[f"solved_{pool}"] = _solved(f"stage:answers_{pool}")
    for count, pool in enumerate(POOLS, 1):
        stages[f"tuned_{pool}"] = _tuning([f"stage:solved_{one}/selected.jsonl" for one in POOLS[:count]])
    stages["ranked"] = _ranking([f"stage:{way}_1" for way in WAYS])
    stages["instruction_model"] = _instructions("stage:tuned_upward/export")
    stages["process_model"] = read(str(HERE / "prm_math.py"))
    stages["process_model"].model.path = "stage:tuned_upward/export"
    for aggregation in ("product", "minimum"):
        stages[aggregation] = _learning(read(str(HERE / "ppo_math.py")), aggregation)
    return pipeline(**stages)


def _generation(data: str, template: str, samples: int):
    config = defaults()
    config.recipe = "generate"
    config.model.path = EVOLVER
    config.data.name = data
    config.data.template = template
    config.data.max_prompt_length = 2048
    config.data.long_prompts = "drop"
    config.sampling.max_length = 4096
    config.sampling.temperature = 0.7
    config.sampling.batch_size = 256
    config.collect.samples = samples
    config.mesh.data = 1
    config.mesh.fsdp = -1
    return config


def _evolution(data: str, template: str, samples: int):
    config = _generation(data, template, samples)
    config.reward.names = ("repetition",)
    return config


def _evolved(samples: str):
    """One new problem of each."""
    config = defaults()
    config.recipe = "select"
    config.selection.inputs = (samples,)
    config.selection.least = (("repetition", -0.2),)
    config.selection.rewrite = "rl_reason.data.evol_instruct:evolved"
    config.reward.names = ("repetition",)
    return config


def _pool(data: str, evaluations: str):
    config = defaults()
    config.recipe = "clean"
    config.data.name = data
    config.cleaning.evaluations = evaluations
    return config


def _answers(data: str):
    config = _generation(data, "boxed", samples=4)
    config.data.unreadable = "drop"
    config.reward.names = ("accuracy",)
    return config


def _solved(samples: str):
    config = defaults()
    config.recipe = "select"
    config.selection.inputs = (samples,)
    config.reward.names = ("accuracy",)
    return config


def _tuning(data: list[str]):
    config = read(str(HERE / "sft_math.py"))
    config.model.path = BASE
    config.data.name = "+".join(data)
    config.evaluation.name = HELD_OUT
    return config


def _ranking(samples: list[str]):
    config = defaults()
    config.recipe = "rank"
    config.selection.inputs = tuple(samples)
    config.selection.least = (("repetition", -0.2),)
    config.selection.rewrite = "rl_reason.data.evol_instruct:evolved"
    config.selection.keep = 0
    config.reward.names = ("repetition", "judge")
    config.reward.weights = (0.0, 1.0)
    config.judge.url = JUDGE
    config.judge.model = EVOLVER
    config.judge.instructions = RANKING
    return config


def _instructions(model: str):
    config = defaults()
    config.recipe = "reward_model"
    config.steps = 500
    config.model.path = model
    config.model.remat = "layer"
    config.data.name = "stage:ranked/pairs.jsonl"
    config.data.template = "instruction"
    config.data.long_prompts = "drop"
    config.reward_model.kind = "preference"
    config.reward_model.labels = "file"
    config.sampling.max_length = 1024
    config.algorithm.batch_size = 128
    config.algorithm.learning_rate = 2e-5
    config.algorithm.micro_batch = 32
    config.mesh.data = 1
    config.mesh.fsdp = -1
    return config


def _learning(config, aggregation: str):
    """PPO with the product of both models; what a rule says of the answer is only measured."""
    rule = config.reward.names[0]
    config.model.path = "stage:tuned_upward/export"
    config.data.name = "+".join(f"stage:pool_{pool}/kept.jsonl" for pool in POOLS)
    config.data.problems = 0
    config.reward.names = (rule, "model")
    config.reward.weights = (0.0, 1.0)
    config.reward.model = "stage:process_model/export"
    config.reward.instruction_model = "stage:instruction_model/export"
    config.reward.aggregation = aggregation
    config.evaluation.name = config.evaluation.name or HELD_OUT
    return config


def tiny():
    held_out = "word_problems+harder_word_problems"
    sources = ("word_problems", "easier_word_problems", "harder_word_problems")
    stages = {}
    for pool, source in zip(POOLS, sources, strict=True):
        stages[f"pool_{pool}"] = _pool(source, held_out)
        stages[f"pool_{pool}"].data.problems = 1000
        # Rounds of a problem share all sentences but one.
        stages[f"pool_{pool}"].cleaning.similarity = 0.95
    for count, pool in enumerate(POOLS, 1):
        config = _tiny(read(str(HERE / "sft_math.py"), "tiny"), held_out)
        config.data.name = "+".join(f"stage:pool_{one}/kept.jsonl" for one in POOLS[:count])
        config.steps = 80
        config.algorithm.batch_size = 16
        config.algorithm.reduction = "token_mean"
        config.data.row_length = 260
        # As of several hands: some tell the answer only, which is mostly wrong when the model does so, too.
        config.data.solutions = ((0, (("worked", 0.75), ("bare", 0.25))),)
        stages[f"tuned_{pool}"] = config

    instructions = _instructions("stage:tuned_upward/export")
    instructions.steps = 60
    instructions.model.remat = "none"
    instructions.data.name = "instruction_pairs"
    instructions.data.problems = 1000
    instructions.data.max_prompt_length = 140
    instructions.data.long_prompts = "error"
    instructions.evaluation.name = "instruction_pairs"
    instructions.evaluation.problems = 200
    instructions.sampling.max_length = 140
    instructions.algorithm.batch_size = 32
    instructions.algorithm.learning_rate = 5e-4
    instructions.algorithm.schedule = "cosine"
    instructions.algorithm.warmup_steps = 5
    instructions.algorithm.b2 = 0.98
    instructions.algorithm.micro_batch = 0
    instructions.mesh.data = -1
    instructions.mesh.fsdp = 1
    stages["instruction_model"] = instructions

    steps = _tiny(read(str(HERE / "prm_math.py"), "tiny"), held_out)
    steps.steps = 120
    steps.model.path = "stage:tuned_upward/export"
    steps.data.name = "+".join(f"stage:pool_{pool}/kept.jsonl" for pool in POOLS)
    steps.data.problems = 0
    steps.sampling.temperature = 1.0
    steps.algorithm.group_size = 2
    steps.evaluation.every = 0
    stages["process_model"] = steps

    for aggregation in ("product", "minimum"):
        config = _learning(read(str(HERE / "ppo_math.py"), "tiny"), aggregation)
        config.steps = 30
        stages[aggregation] = _tiny(config, held_out)
    return pipeline(**stages)


def _tiny(config, held_out: str):
    """Room for the events of harder problems."""
    config.data.problems = 0
    config.data.max_prompt_length = 140
    config.sampling.max_length = 120
    config.evaluation.name = held_out
    config.evaluation.every = 0
    config.evaluation.problems = 250
    config.evaluation.samples = 4
    return config
