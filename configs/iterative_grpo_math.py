"""Iterative GRPO on GSM8K and MATH: the reference and the reward model follow the policy (DeepSeekMath, arXiv
2402.03300, algorithm 1, sections 4.1.4 and 5.2.1, figure 6).

Published: two iterations on DeepSeekMath-Instruct 7B, the first one giving most of the gain on GSM8K and MATH, the
second one more on top; the figure gives curves, no numbers.
The method: the reward of an output is what a reward model says; after M steps the reference becomes the policy and the
reward model is trained on with outputs of the policy, a tenth of each batch being from before. Where it deviates,
beside what stands in `configs/grpo_math.py`:

- The paper does not give M, nor how the reward model is trained between: here M is 100 and there are 50 updates of 256
  outputs, at the reward model's own learning rate, 2e-5. Right and wrong are told by the exact answer.
- The reward model is `configs/orm_math.py`'s export.

    python -m rl_reason.train --config=configs/orm_math.py --workdir=runs/orm_math
    python -m rl_reason.train --config=configs/iterative_grpo_math.py --workdir=DIR

Variant `tiny`: two iterations of 12 steps on generated word problems, with the shipped reward model
`checkpoints/tiny_orm`, on two CPU cores. That model sees whether a problem is worked out, and hardly whether the
calculations are right: where all outputs of a group are worked out, its scores differ by little, and divided by their
standard deviation that little would be all the gradient. So 0.1 is added to the standard deviation (eps), and β is 0.3:
with 0.04 the policy learns to please the reward model, and loses in the second iteration what it gained before
(`experiments/methods`).
"""

from pathlib import Path

from rl_reason.objectives import methods
from rl_reason.runtime.config import check_variant, read


def get_config(variant: str = ""):
    check_variant(variant, ("tiny",))
    config = read(str(Path(__file__).with_name("grpo_math.py")), variant)
    methods.choose(config, "grpo_iterative")
    config.algorithm.reference_every = 100
    config.reward.names = ("accuracy", "model")
    config.reward.weights = (0.0, 1.0)
    config.reward.model = "runs/orm_math/export"
    config.retraining.steps = 50
    config.retraining.batch_size = 256
    config.retraining.replay = 0.1
    config.retraining.learning_rate = 2e-5
    if variant == "tiny":
        config.steps = 24
        config.algorithm.reference_every = 12
        config.reward.names = ("marked_number", "model")
        config.reward.model = "checkpoints/tiny_orm"
        config.algorithm.eps = 0.1
        config.algorithm.kl_coef = 0.3
        config.evaluation.every = 6
        config.retraining.steps = 30
        config.retraining.batch_size = 128
        config.retraining.learning_rate = 3e-4
    return config
