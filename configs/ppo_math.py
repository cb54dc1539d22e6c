"""PPO with a critic on GSM8K and MATH, beside `configs/grpo_math.py` (arXiv 1707.06347; DeepSeek-R1, arXiv 2501.12948,
appendix A.3; DeepSeekMath, arXiv 2402.03300, section 4.1.1).

Published: DeepSeek-R1's appendix A.3 compares PPO and GRPO on MATH with DeepSeek-Coder-V2-Lite: with λ = 0.95 PPO is
considerably worse, with λ = 1 nearly as good, and it needs a critic as large as the policy; curves, no numbers.
Settings: γ 1, λ 1, values clipped at 0.2, the KL penalty taken off each token's reward (k1), advantages whitened over
the batch, four passes over an exploration; everything else is that of `configs/grpo_math.py`, so that the two compare.
Where it deviates, beside what stands there:

- The critic starts from the policy's weights, with a layer of zeros on top; the papers start it from the reward model,
  which is not public (`--config.critic.path=DIR` does, with that layer of zeros in place of the last one of a model of
  outcomes or steps, whose scores are logits). Its learning rate, 1e-5, is usual practice, as are 4 passes.
- One completion of each question, 1024 questions: a critic needs no group.

The critic's memory, as large as the policy's with its optimizer, is in the table that `rl_reason.plan` prints:

    python -m rl_reason.plan --config=configs/ppo_math.py --topology=v5p:2x2x4
    python -m rl_reason.train --config=configs/ppo_math.py --workdir=DIR

Variant `tiny`: generated word problems and the shipped model, on two CPU cores: the same samples as
`configs/grpo_math.py:tiny`, 128 a step, one pass in four minibatches at half its learning rate. The critic learns alone
in the first three of the 25 steps: with one update a step and no such start it explains next to nothing of the returns
before nearly all answers are right.
"""

from pathlib import Path

from rl_reason.objectives import methods
from rl_reason.runtime.config import check_variant, read


def get_config(variant: str = ""):
    check_variant(variant, ("tiny",))
    config = read(str(Path(__file__).with_name("grpo_math.py")), variant)
    methods.choose(config, "ppo")
    config.critic.kind = "separate"
    config.critic.gae_lambda = 1.0
    config.algorithm.group_size = 1
    config.algorithm.updates = 4
    if variant == "tiny":
        config.algorithm.updates = 1
        config.algorithm.group_size = 8
        config.algorithm.minibatches = 4
        config.algorithm.learning_rate = 1e-4
        config.critic.learning_rate = 5e-4
        config.critic.pretrain_steps = 3
    return config
