"""GRPO on GSM8K and MATH with DeepSeekMath's settings (arXiv 2402.03300, section 4.2, table 5).

Published, GSM8K / MATH, greedy: DeepSeekMath-Instruct 7B 82.87 / 46.82 → DeepSeekMath-RL 7B 88.25 / 51.70.
Settings of the paper: learning rate 1e-6, β 0.04, 64 outputs a question, length 1024, batch 1024, one update per
exploration. Where it deviates:

- The paper's 144K questions and its reward model are not public: this takes the training splits of GSM8K and MATH
  (15K questions) and the exact-answer reward.
- ε 0.2, clipping of the gradient at norm 1 and AdamW's other settings are usual ones, which the paper does not give.
- It starts from a base model whose weights are published as safetensors. DeepSeekMath-Instruct (Llama's layout) is
  `--config.model.path=DIR` with such a folder. The prompt is DeepSeekMath's; `--config.data.template=boxed` sends
  the same request through the chat template of a chat model.
- MATH has some problems of more than 1024 tokens (drawings written as code): they are left out and counted.

Hardware, compiled and not run (jax 0.10.2, libtpu 0.0.42, prompts of 1024): on 16 chips of TPU v5p the update peaks at
18 GiB of a chip's 95, sampling at 10; on 64 chips of v5e, with --config.algorithm.micro_batch=64, at 8 and 5 of 16.
7B with Adam takes about 140 GB over the mesh (float32 weights, gradients and moments, a bfloat16 reference).

    python -m rl_reason.train --config=configs/grpo_math.py --workdir=DIR
    python -m rl_reason.train --config=configs/grpo_math.py --config.model.path=DIR --config.data.dir=DIR

Variant `tiny`: the same loop on generated word problems with the shipped model of 0.8M parameters, three to five
minutes on two CPU cores. It deviates in size (16 questions of 8 samples, length 80), in the learning rate that so small
a model needs, and in adding R1-Zero's format reward, at a tenth of the weight.
"""

from rl_reason.objectives import methods
from rl_reason.runtime.config import check_variant
from rl_reason.settings import defaults


def get_config(variant: str = ""):
    check_variant(variant, ("tiny",))
    config = defaults()
    methods.choose(config, "grpo")
    config.steps = 1000
    config.model.path = "Qwen/Qwen2.5-Math-7B"
    config.model.remat = "layer"
    config.data.name = "gsm8k+math"
    config.data.template = "boxed_plain"
    config.data.max_prompt_length = 1024
    config.data.long_prompts = "drop"
    config.data.unreadable = "drop"
    config.reward.names = ("accuracy",)
    config.reward.weights = (1.0,)
    config.sampling.max_length = 1024
    config.sampling.temperature = 1.0
    config.sampling.batch_size = 256
    config.algorithm.group_size = 64
    config.algorithm.batch_size = 1024
    config.algorithm.learning_rate = 1e-6
    config.algorithm.kl_coef = 0.04
    config.algorithm.clip_low = 0.2
    config.algorithm.clip_high = 0.2
    config.algorithm.micro_batch = 32
    config.evaluation.every = 50
    config.evaluation.problems = 0
    config.evaluation.samples = 1
    config.evaluation.temperature = 0.0
    config.mesh.data = 1
    config.mesh.fsdp = -1
    config.checkpoint.every = 50
    if variant == "tiny":
        config.steps = 25
        config.model.path = "checkpoints/tiny"
        config.model.remat = "none"
        config.data.name = "word_problems"
        config.data.problems = 10_000
        config.data.template = "question"
        config.data.max_prompt_length = 80
        config.data.long_prompts = "error"
        config.data.unreadable = "error"
        config.reward.names = ("marked_number", "format")
        config.reward.weights = (1.0, 0.1)
        config.sampling.max_length = 80
        config.sampling.batch_size = 0
        config.algorithm.group_size = 8
        config.algorithm.batch_size = 128
        config.algorithm.learning_rate = 2e-4
        config.algorithm.warmup_steps = 5
        config.algorithm.b2 = 0.95
        config.algorithm.micro_batch = 0
        config.evaluation.every = 5
        config.evaluation.problems = 500
        config.evaluation.samples = 8
        config.evaluation.temperature = 1.0
        config.checkpoint.every = 20
    return config
