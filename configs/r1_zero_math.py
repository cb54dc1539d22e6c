"""DeepSeek-R1-Zero: reinforcement learning of a base model without any supervised stage (arXiv 2501.12948, version 1,
section 2.2, and the supplement of version 2; Nature 2025).

Published, AIME 2024: pass@1 15.6 → 71.0 (version 1; in Nature 77.9), with a majority of samples 86.7; answers
become longer throughout, and words of reflection more frequent. Settings of the paper: learning rate 3e-6, β 0.001,
temperature 1, 16 outputs of a question, 32 questions a training step. One rollout is 8,192 outputs, cut at random
into 16 minibatches, with one pass over them: a step of this config, so that the 10,400 training steps are 650. The
reference is replaced every 400 of them, here 25. Outputs have 32,768 tokens at most, from training step 8,200 on,
in rollout 513, 65,536. Reward: accuracy + format, of equal weight. Evaluation: temperature 0.6, top-p 0.95, and 16
samples of a question for the curve.
Where it deviates:

- The base is Qwen2.5-32B in place of DeepSeek-V3-Base (671B). The questions are the training splits of GSM8K and MATH
  in place of the paper's, which are not public, and not of mathematics only.
- ε is not given for R1-Zero: 0.2 here. R1's first stage has 10 (`--preset=r1_stage1`). The ratio is that of whole
  outputs, as equation 1 prints it, and so is clipped soon where outputs are long; DeepSeekMath's ratio of tokens is
  `--config.algorithm.ratio_level=token`. The KL term is that of tokens, averaged over an output.
- The optimizer beside its learning rate is not given: AdamW without weight decay, gradients clipped at norm 1.
- Evaluations have the final limit, 65,536 tokens, from the beginning, so that they can be compared.

Hardware: not compiled, and not run. By the bytes: 32B weights with Adam and the reference take 590 GB over the mesh,
keys and values of 256 outputs of the greatest length 4.4 TB; both fit on 128 chips of TPU v5p, with the sequence shared
out to 8. What a mesh takes, before it is rented, and then, on every worker (`docs/running.md`):

    python -m rl_reason.plan --config=configs/r1_zero_math.py --topology=v5p:4x4x8
    python -m rl_reason.train --config=configs/r1_zero_math.py --workdir=/mnt/runs/r1_zero
    python -m rl_reason.train --config=configs/r1_zero_math.py --config.model.path=Qwen/Qwen2.5-7B --workdir=DIR

Variant `tiny`: word problems of two to four events told in English or Chinese, whose solutions have different lengths,
on two CPU cores: 18 rollouts of 512 outputs in 16 minibatches, a new reference every 3, limits of 48, 80 and 120
tokens. It starts from `checkpoints/bilingual`, whose text is what a base model's is here: it has seen solutions, a few
of which correct themselves, in either language or both, and mostly blurts answers out. It deviates in size, in the
learning rate that so small a model needs, and in a format reward at a tenth of the weight (with equal weight half of
the reward is had by an empty thought).
"""

from rl_reason import presets
from rl_reason.objectives import methods
from rl_reason.runtime.config import check_variant
from rl_reason.settings import defaults


def get_config(variant: str = ""):
    check_variant(variant, ("tiny",))
    config = defaults()
    methods.choose(config, "grpo")
    presets.r1_zero(config)
    config.steps = 650
    config.model.path = "Qwen/Qwen2.5-32B"
    config.model.remat = "layer"
    config.data.name = "gsm8k+math"
    config.data.template = "r1_zero"
    config.data.max_prompt_length = 1024
    config.data.long_prompts = "drop"
    config.data.unreadable = "drop"
    config.reward.names = ("accuracy", "format")
    config.reward.weights = (1.0, 1.0)
    config.sampling.lengths = ((1, 32_768), (513, 65_536))
    config.sampling.max_length = 65_536
    config.sampling.temperature = 1.0
    config.sampling.batch_size = 256
    config.algorithm.group_size = 16
    config.algorithm.batch_size = 8192
    config.algorithm.minibatches = 16
    config.algorithm.reference_every = 25
    config.algorithm.learning_rate = 3e-6
    config.algorithm.micro_batch = 16
    config.evaluation.name = "aime24"
    config.evaluation.every = 25
    config.evaluation.problems = 0
    config.evaluation.samples = 16
    config.evaluation.samples_during = 16
    config.evaluation.temperature = 0.6
    config.evaluation.top_p = 0.95
    config.mesh.data = 1
    config.mesh.fsdp = -1
    config.mesh.sequence = 8
    config.checkpoint.every = 5
    if variant == "tiny":
        config.steps = 18
        config.model.path = "checkpoints/bilingual"
        config.model.remat = "none"
        config.data.name = "bilingual_problems"
        config.data.problems = 10_000
        config.data.template = "question"
        config.data.max_prompt_length = 96
        config.data.long_prompts = "error"
        config.data.unreadable = "error"
        config.reward.names = ("marked_number", "format")
        config.reward.weights = (1.0, 0.1)
        config.sampling.lengths = ((1, 48), (7, 80), (13, 120))
        config.sampling.max_length = 120
        config.sampling.batch_size = 0
        config.algorithm.batch_size = 512
        config.algorithm.reference_every = 3
        config.algorithm.learning_rate = 1e-5
        config.algorithm.b2 = 0.95
        config.algorithm.micro_batch = 0
        config.evaluation.name = ""
        config.evaluation.every = 6
        config.evaluation.problems = 250
        config.evaluation.samples = 8
        config.evaluation.samples_during = 8
        config.evaluation.temperature = 1.0
        config.evaluation.top_p = 1.0
        config.mesh.sequence = 1
        config.checkpoint.every = 6
    return config
