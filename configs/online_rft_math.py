"""Online RFT on GSM8K and MATH (DeepSeekMath, arXiv 2402.03300, section 5.2.1 and appendix A.1.3, figure 5).

Published: on DeepSeekMath-Instruct 1.3B, Online RFT is far ahead of RFT in the later part of training and behind GRPO,
on GSM8K and on MATH; the figure gives curves, no numbers.
The method: outputs of the policy as it is, the right ones all push with coefficient 1, the wrong ones do nothing, and
there is no KL term; each output counts by 1/|o|, over all outputs of the batch. Scale, data and learning rate are those
of `configs/grpo_math.py`, of which the paper does not say that they differ; so are the deviations that stand there.

    python -m rl_reason.train --config=configs/online_rft_math.py --workdir=DIR

Variant `tiny`: generated word problems, for the reward of a right answer alone, on two CPU cores.
"""

from pathlib import Path

from rl_reason.objectives import methods
from rl_reason.runtime.config import check_variant, read


def get_config(variant: str = ""):
    check_variant(variant, ("tiny",))
    config = read(str(Path(__file__).with_name("grpo_math.py")), variant)
    methods.choose(config, "online_rft")
    if variant == "tiny":
        config.reward.names = ("marked_number",)
        config.reward.weights = (1.0,)
    return config
