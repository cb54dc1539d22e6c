"""x"""

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
    config.sampling.batch_size = 1024
    config.algorithm.group_size = 16
    config.algorithm.batch_size = 8192
    config.algorithm.minibatches = 16
    config.algorithm.reference_every = 25
    config.algorithm.learning_rate = 3e-6
    config.algorithm.micro_batch = 16
    config.evaluation.every = 25
    config.evaluation.problems = 500
    config.evaluation.samples = 16
    config.evaluation.samples_during = 16
    config.evaluation.temperature = 0.6
    config.evaluation.top_p = 0.95
    config.mesh.data = 1
    config.mesh.fsdp = -1
    config.checkpoint.every = 5
    if variant == "tiny":
        config.steps = 18
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
        config.sampling.lengths = ((1, 48), (7, 80), (13, 120))
        config.sampling.max_length = 120
        config.sampling.batch_size = 0
        config.algorithm.batch_size = 512
        config.algorithm.reference_every = 3
        config.algorithm.learning_rate = 1e-5
        config.algorithm.b2 = 0.95
        config.algorithm.micro_batch = 0
        config.evaluation.every = 6
        config.evaluation.problems = 250
        config.evaluation.samples = 8
        config.evaluation.samples_during = 8
        config.evaluation.temperature = 1.0
        config.evaluation.top_p = 1.0
        config.checkpoint.every = 6
    return config
