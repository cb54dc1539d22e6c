"""GRPO with process supervision on GSM8K and MATH (DeepSeekMath, arXiv 2402.03300, sections 4.1.3 and 5.2, figure 5).

Published: on DeepSeekMath-Instruct 1.3B, GRPO with process supervision (GRPO+PS) is ahead of GRPO with outcome
supervision, Online RFT and RFT, on GSM8K and on MATH; the figure gives curves, no numbers.
Settings of the paper: those of `configs/grpo_math.py`; a process reward model scores the end of each step, and a
token's advantage is the sum of the normalized rewards of the steps that end at it or later. Where it deviates:

- The reward model is `configs/prm_math.py`'s export, and the questions are public ones, as in `configs/grpo_math.py`.
- A step is a line. What right and wrong mean in the metrics is the exact answer's rule, whose reward has weight 0.

    python -m rl_reason.train --config=configs/prm_math.py --workdir=runs/prm_math
    python -m rl_reason.train --config=configs/grpo_process_math.py --workdir=DIR

Variant `tiny`: generated word problems, whose steps are calculations that can be checked exactly: a rule in the place
of the reward model, two minutes on two CPU cores. With a model trained on such labels:

    python -m rl_reason.train --config=configs/prm_math.py:tiny --workdir=runs/prm_tiny
    python -m rl_reason.train --config=configs/grpo_process_math.py:tiny --config.reward.steps=model \
        --config.reward.model=runs/prm_tiny/export
"""

from pathlib import Path

from rl_reason.objectives import methods
from rl_reason.runtime.config import check_variant, read


def get_config(variant: str = ""):
    check_variant(variant, ("tiny",))
    config = read(str(Path(__file__).with_name("grpo_math.py")), variant)
    methods.choose(config, "grpo_process")
    config.reward.steps = "model"
    config.reward.model = "runs/prm_math/export"
    config.reward.weights = (0.0,)
    if variant == "tiny":
        config.reward.steps = "calculations"
        config.reward.model = ""
        config.reward.names = ("marked_number", "format")
        config.reward.weights = (0.0, 0.1)
    return config
