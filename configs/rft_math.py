"""Rejection-sampling fine-tuning on GSM8K and MATH (RFT: DeepSeekMath, arXiv 2402.03300, section 5.2.1, figure 5).

Published: on DeepSeekMath-Instruct 1.3B, RFT raises accuracy on GSM8K and on MATH and stays behind Online RFT, which
stays behind GRPO; the figure gives curves, no numbers.
The method: outputs of the fine-tuned model for the questions that it was fine-tuned on, those with the right answer are
fine-tuned on. Where it deviates, or the paper says nothing:

- Starts from `configs/sft_math.py`'s export; the deviations that stand there are also these.
- 64 outputs a question, as the paper's GRPO samples, at temperature 1; of a question at most 4 right ones that differ
  in their calculations, as arXiv 2308.01825 does. The paper gives neither.
- Batch, learning rate and context are those of its supervised fine-tuning; 100 steps.

    python -m rl_reason.train --config=configs/sft_math.py --workdir=runs/sft_math
    python -m rl_reason.train --config=configs/rft_math.py --workdir=DIR

Variant `tiny`: 8 outputs of each of 2,000 generated word problems by the shipped model of 0.8M parameters; two to
four minutes on two CPU cores, held-out pass@1 21% → 66%.
"""

from pathlib import Path

from rl_reason.objectives import methods
from rl_reason.runtime.config import check_variant, read


def get_config(variant: str = ""):
    check_variant(variant, ("tiny",))
    config = read(str(Path(__file__).with_name("sft_math.py")), variant)
    methods.choose(config, "rft")
    config.steps = 100
    config.model.path = "runs/sft_math/export"
    config.data.solutions = ()
    config.sampling.temperature = 1.0
    config.sampling.batch_size = 512
    config.collect.samples = 64
    config.collect.threshold = 1.0
    config.collect.keep = 4
    if variant == "tiny":
        config.steps = 60
        config.model.path = "checkpoints/tiny"
        config.data.problems = 2_000
        config.sampling.batch_size = 1024
        config.collect.samples = 8
    return config
