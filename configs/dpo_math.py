"""Direct preference optimization on GSM8K and MATH (DPO, arXiv 2305.18290; DeepSeekMath, arXiv 2402.03300, A.1.4).

DeepSeekMath writes DPO into its table of methods and gives no numbers of it.
The method: outputs of the fine-tuned model as it starts, pairs of a right and a wrong one of a question; the reference
is that model. What no paper says of this task, chosen here: β 0.1 and learning rate 5e-7 with 128 pairs a step, 64
outputs a question at temperature 1 as the paper's GRPO samples, at most 4 pairs of a question. It starts from
`configs/sft_math.py`'s export; the deviations of data and model that stand there are also these.

    python -m rl_reason.train --config=configs/dpo_math.py --workdir=DIR
    python -m rl_reason.train --config=configs/dpo_math.py --config.algorithm.reduction=sequence_mean \
        --config.preference.beta=2.0

The second takes 1/|o| of the log-ratios, as DeepSeekMath writes it: lengths do not count, and β is larger. Pairs of a
file, rows with `problem`, `chosen` and `rejected`, are `--config.preference.pairs=FILE.jsonl`.

Variant `tiny`: 8 outputs of each of 2,000 generated word problems by the shipped model of 0.8M parameters;
about two minutes of processor time, held-out pass@1 21% → 88%.
"""

from pathlib import Path

from rl_reason.objectives import methods
from rl_reason.runtime.config import check_variant, read


def get_config(variant: str = ""):
    check_variant(variant, ("tiny",))
    config = read(str(Path(__file__).with_name("sft_math.py")), variant)
    methods.choose(config, "dpo")
    config.steps = 200
    config.model.path = "runs/sft_math/export"
    config.data.solutions = ()
    config.data.row_length = 0
    config.sampling.temperature = 1.0
    config.sampling.batch_size = 512
    config.collect.samples = 64
    config.collect.threshold = 1.0
    config.preference.beta = 0.1
    config.preference.most = 4
    config.algorithm.batch_size = 128
    config.algorithm.learning_rate = 5e-7
    config.algorithm.warmup_steps = 20
    if variant == "tiny":
        config.steps = 40
        config.model.path = "checkpoints/tiny"
        config.data.problems = 2_000
        config.sampling.batch_size = 1024
        config.collect.samples = 8
        config.algorithm.batch_size = 32
        config.algorithm.learning_rate = 1e-4
        config.algorithm.warmup_steps = 5
    return config
