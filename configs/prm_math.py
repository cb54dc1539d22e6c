"""A process reward model: whether each step of a solution is right, told at its last token.

Let's Verify Step by Step (arXiv 2305.20050): steps rated good, neutral or bad by people (PRM800K); told up to and
including the first bad one (section 2.6), 2 epochs; a solution's score is the product of the probabilities that its
steps are right, with neutral counted as right, or their minimum (appendix F). Published, best of 1860 on MATH-500: PRM
78.2 (product), 77.6 (minimum), ORM 72.4, majority voting 69.6, all with GPT-4's unpublished base. DeepSeekMath (arXiv
2402.03300, sections 4.1.3 and 4.2) has a process reward model too, from the 7B base with learning rate 2e-5. Where it
deviates:

- PRM800K does not lie beside this project. With its steps as rows of `problem`, `prefix`, `step`, `rating`:

      python -m rl_reason.train --config=configs/prm_math.py --config.reward_model.labels=file \\
          --config.data.name=train.jsonl --config.evaluation.name=test.jsonl --config.algorithm.group_size=64 \\
          --config.data.unreadable=error --config.evaluation.samples=8

  (the last three are these keys' defaults: nothing is sampled). Train on none that are built on MATH-500 where MATH-500
  is reported.
- Without, labels are made as Math-Shepherd makes them (arXiv 2312.08935, section 3): the policy samples solutions,
  and goes on 8 times from behind each step; a step is right if any of the 8 ends right
  (`--config.reward_model.soft=True`: their share).
- The start is a base model whose weights are published as safetensors, and one score with cross-entropy stands for the
  paper's three classes at a step's last token.
- Batch 128 (2000 steps are 2 epochs of 128K solutions), learning rate 2e-5 of DeepSeekMath, clipping and AdamW's other
  settings are usual ones: Let's Verify does not give them.
- MATH has some problems of more than 1024 tokens (drawings written as code): they are left out and counted.

eval.jsonl has accuracy and area under the ROC curve of steps (up to the first wrong one), and of solutions by product
and by minimum, with `best@k`.

    python -m rl_reason.train --config=configs/prm_math.py --workdir=DIR

Variant `tiny`: generated word problems, whose calculations a rule checks exactly (`rewards.steps`), and the shipped
model of 0.8M parameters, about four minutes of processor time. It deviates in size (2000 problems, 8 solutions each,
batch 64, length 80), in the learning rate that so small a model needs, in learning what is behind a wrong step too, and
in a temperature of 1.3 for training, at which more calculations are wrong. What it learns is mostly the form: answers
that are blurted out are wrong. Among the steps of worked solutions (`several/auc`) it is not much better than chance.
GRPO with this model as its reward of steps is `configs/grpo_process_math.py` with `--config.reward.steps=model
--config.reward.model=DIR/export`.
"""

from rl_reason.runtime.config import check_variant
from rl_reason.settings import defaults


def get_config(variant: str = ""):
    check_variant(variant, ("tiny",))
    config = defaults()
    config.recipe = "reward_model"
    config.steps = 2000
    config.model.path = "Qwen/Qwen2.5-Math-7B"
    config.model.remat = "layer"
    config.data.name = "gsm8k+math"
    config.data.template = "boxed_plain"
    config.data.max_prompt_length = 1024
    config.data.long_prompts = "drop"
    config.data.unreadable = "drop"
    config.reward.names = ("accuracy",)
    config.reward.weights = (1.0,)
    config.reward_model.kind = "process"
    config.reward_model.labels = "rollouts"
    config.reward_model.rollouts = 8
    config.sampling.max_length = 1024
    config.sampling.temperature = 1.0
    config.algorithm.group_size = 8
    config.algorithm.batch_size = 128
    config.algorithm.learning_rate = 2e-5
    config.algorithm.micro_batch = 32
    config.evaluation.every = 250
    config.evaluation.problems = 500
    config.evaluation.samples = 8
    config.mesh.data = 1
    config.mesh.fsdp = -1
    config.checkpoint.every = 250
    if variant == "tiny":
        config.steps = 250
        config.model.path = "checkpoints/tiny"
        config.model.remat = "none"
        config.data.name = "word_problems"
        config.data.problems = 2000
        config.data.template = "question"
        config.data.max_prompt_length = 80
        config.data.long_prompts = "error"
        config.data.unreadable = "error"
        config.reward.names = ("marked_number",)
        config.reward.steps = "calculations"
        config.reward_model.labels = "rules"
        config.reward_model.first_error = False
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
        config.evaluation.every = 50
        config.evaluation.problems = 200
        config.checkpoint.every = 50
        config.log.every = 5
    return config
