"""Supervised fine-tuning on GSM8K and MATH with DeepSeekMath's settings (arXiv 2402.03300, section 3).

Published, GSM8K / MATH, greedy: DeepSeekMath-Base 7B 64.22 / 36.18 → DeepSeekMath-Instruct 7B 82.87 / 46.82.

| setting | paper | here |
|---|---|---|
| context | 4096 tokens, examples concatenated at random | the same, and attention stays within an example |
| batch | 256 rows | the same |
| steps | 500 | the same |
| learning rate | 5e-5, constant | the same |
| loss | not given | 1/|o| of an example, then the mean over examples |

Where it deviates:

- The paper's 776K examples (chain of thought, program of thought, tool use, English and Chinese) are not public: this
  takes the reference solutions of the training splits of GSM8K and MATH, 15K examples. Of so few, 500 steps are more
  than 100 epochs; `--config.steps=12` is three. The metric `epoch` tells.
- GSM8K's solutions hold calculator marks (`<<12+30=42>>`) and end in `#### 42`; they are learned as they are.
- The paper's loss is likely the mean over tokens: `--config.algorithm.reduction=token_mean`.
- Clipping of the gradient at norm 1 and AdamW's other settings are usual ones, which the paper does not give.
- The base model is one whose weights are published as safetensors. DeepSeekMath-Base (Llama's layout) is
  `--config.model.path=DIR` with such a folder.
- Held-out completions have at most 1024 tokens.

    python -m rl_reason.train --config=configs/sft_math.py --workdir=DIR
    python -m rl_reason.train --config=configs/sft_math.py --config.model.path=DIR --config.data.dir=DIR

A file of conversations, rows with `messages`, written by the tokenizer's chat template:

    python -m rl_reason.train --config=configs/sft_math.py --config.data.name=FILE.jsonl --config.data.solutions='()' \
        --config.data.template=boxed --config.evaluation.name=gsm8k+math

Variant `tiny`: the worked solutions of generated word problems, on the shipped model of 0.8M parameters; two to four
minutes on two CPU cores, held-out pass@1 21% → 96%. It deviates in size (48 rows of 160 tokens, 60 steps), and in the
learning rate that so small a model needs.
"""

from rl_reason.objectives import methods
from rl_reason.runtime.config import check_variant
from rl_reason.settings import defaults


def get_config(variant: str = ""):
    check_variant(variant, ("tiny",))
    config = defaults()
    methods.choose(config, "sft")
    config.steps = 500
    config.model.path = "Qwen/Qwen2.5-Math-7B"
    config.model.remat = "layer"
    config.data.name = "gsm8k+math"
    config.data.template = "boxed_plain"
    config.data.max_prompt_length = 1024
    config.data.long_prompts = "drop"
    config.data.unreadable = "drop"
    config.data.row_length = 4096
    config.data.solutions = ((0, (("original", 1.0),)),)
    config.sampling.max_length = 1024
    config.algorithm.batch_size = 256
    config.algorithm.learning_rate = 5e-5
    config.algorithm.micro_batch = 16
    config.evaluation.every = 100
    config.evaluation.problems = 0
    config.evaluation.samples = 1
    config.evaluation.temperature = 0.0
    config.mesh.data = 1
    config.mesh.fsdp = -1
    config.checkpoint.every = 50
    if variant == "tiny":
        config.steps = 60
        config.model.path = "checkpoints/tiny"
        config.model.remat = "none"
        config.data.name = "word_problems"
        config.data.problems = 10_000
        config.data.template = "question"
        config.data.max_prompt_length = 80
        config.data.long_prompts = "error"
        config.data.unreadable = "error"
        config.data.row_length = 160
        config.data.solutions = ((0, (("worked", 1.0),)),)
        config.reward.names = ("marked_number",)
        config.sampling.max_length = 80
        config.algorithm.batch_size = 48
        config.algorithm.learning_rate = 5e-4
        config.algorithm.warmup_steps = 5
        config.algorithm.b2 = 0.98
        config.algorithm.micro_batch = 0
        config.evaluation.every = 20
        config.evaluation.problems = 500
        config.evaluation.samples = 8
        config.evaluation.temperature = 1.0
        config.checkpoint.every = 20
    return config
