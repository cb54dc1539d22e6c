"""An outcome reward model on GSM8K and MATH: whether a solution is right, told at its last token.

DeepSeekMath (arXiv 2402.03300, section 4.2) trains its reward model from the 7B base model with learning rate 2e-5, on
labels made as Math-Shepherd makes them (`configs/prm_math.py`). Let's Verify Step by Step (arXiv 2305.20050, section 3)
trains its ORM on 100 samples of each problem; best of 1860 on MATH-500: ORM 72.4, PRM 78.2, majority voting 69.6, all
with GPT-4's unpublished base.
Where it deviates:

- DeepSeekMath's 144K questions and its reward model are not public: this samples 64 solutions of each training problem
  of GSM8K and MATH from the start policy, and the exact-answer rule labels them. `--config.reward_model.policy=DIR`
  samples from another policy than the reward model starts from.
- The start is a base model whose weights are published as safetensors. DeepSeekMath-Base is
  `--config.model.path=DIR` with such a folder.
- Batch 256 (7500 steps are 2 epochs of 960K solutions), clipping at norm 1 and AdamW's settings are usual ones. The
  loss is cross-entropy at the last token. Cobbe et al. (arXiv 2110.14168, section 4) tell every token, which
  `--config.reward_model.every_token=True` does, but for the language model's loss that they add.
- MATH has some problems of more than 1024 tokens (drawings written as code): they are left out and counted.

eval.jsonl has accuracy and area under the ROC curve on held-out problems, and `best@8`, how often the solution with the
highest score is right, beside `pass@1`.

    python -m rl_reason.train --config=configs/orm_math.py --workdir=DIR

A preference model (Bradley-Terry), or an outcome model on labels that exist, reads files with one JSON object a line,
`problem`, `chosen`, `rejected`, or `problem`, `completion`, `correct`:

    python -m rl_reason.train --config=configs/orm_math.py --config.reward_model.kind=preference \\
        --config.reward_model.labels=file --config.data.name=pairs.jsonl --config.evaluation.name=held_out.jsonl \\
        --config.data.unreadable=error

Variant `tiny`: generated word problems and the shipped model of 0.8M parameters, about two and a half minutes of
processor time. It deviates in size (1000 problems, 8 solutions each, batch 64, length 80), in the learning rate that so
small a model needs, and in a temperature of 1.3 for training, at which more worked solutions are wrong. Most wrong
solutions of that model blurt out an answer, which is easily told. With labels of a file, the keys that say how
solutions are sampled and judged have to stand at their defaults.
"""

from rl_reason.runtime.config import check_variant
from rl_reason.settings import defaults


def get_config(variant: str = ""):
    check_variant(variant, ("tiny",))
    config = defaults()
    config.recipe = "reward_model"
    config.steps = 7500
    config.model.path = "Qwen/Qwen2.5-Math-7B"
    config.model.remat = "layer"
    config.data.name = "gsm8k+math"
    config.data.template = "boxed_plain"
    config.data.max_prompt_length = 1024
    config.data.long_prompts = "drop"
    config.data.unreadable = "drop"
    config.reward.names = ("accuracy",)
    config.reward.weights = (1.0,)
    config.reward_model.kind = "outcome"
    config.reward_model.labels = "rules"
    config.sampling.max_length = 1024
    config.sampling.temperature = 1.0
    config.algorithm.group_size = 64
    config.algorithm.batch_size = 256
    config.algorithm.learning_rate = 2e-5
    config.algorithm.micro_batch = 32
    config.evaluation.every = 500
    config.evaluation.problems = 500
    config.evaluation.samples = 8
    config.mesh.data = 1
    config.mesh.fsdp = -1
    config.checkpoint.every = 500
    if variant == "tiny":
        config.steps = 120
        config.model.path = "checkpoints/tiny"
        config.model.remat = "none"
        config.data.name = "word_problems"
        config.data.problems = 1000
        config.data.template = "question"
        config.data.max_prompt_length = 80
        config.data.long_prompts = "error"
        config.data.unreadable = "error"
        config.reward.names = ("marked_number",)
        config.sampling.max_length = 80
        config.sampling.temperature = 1.3
        config.sampling.batch_size = 512
        config.algorithm.group_size = 8
        config.algorithm.batch_size = 64
        config.algorithm.learning_rate = 5e-4
        config.algorithm.schedule = "cosine"
        config.algorithm.warmup_steps = 20
        config.algorithm.b2 = 0.98
        config.algorithm.micro_batch = 0
        config.evaluation.every = 40
        config.evaluation.problems = 200
        config.checkpoint.every = 40
        config.log.every = 5
    return config
