"""AlphaGeometry: a language model that proposes auxiliary constructions, and a symbolic engine that proves with them
(Trinh et al., Nature 2024).

Published, solved of the 30 problems of imo_ag_30 and the 231 of jgex_ag_231: the engine alone (DD+AR) 14 and 198, with
the language model 25 and 228.

| of the paper | stages here |
|---|---|
| random figures, deduction, traceback: 100M statements, 9M of them with auxiliary constructions | `synthesis` |
| language model of 151M parameters, context 1024, trained on them from random weights | `proposer` |
| (no reinforcement learning in the paper) | `policy`: GRPO, rewarded where the engine proves the goal |
| beam search over constructions, beam 512, depth 16, 32 proposals each | `python -m rl_reason.prove`, of an export |

Where it deviates:

- 5M figures are searched. How many different problems they give has not been seen: 9000 gave about 600, and fewer and
  fewer are new. A fifth of the premises is left to reinforcement, which the proposer then has not been taught. All
  need an auxiliary construction; the paper trains on all statements first, and on those then.
- Figures are asked what is true of them in numbers and not deduced (`geometry.synthesis`), where the paper traces back
  what was deduced: the engine here, newclid's, proves nearly all of that alone.
- The model has Qwen2's layout at the paper's size (12 layers of width 1024, 8 heads), AdamW, and a byte-level
  tokenizer of 1024 tokens. Learning rates and steps are usual ones: the paper's 10M steps are not repeated.
- GRPO's settings are those of `grpo_math.py`, with 16 completions of a question: each takes the engine's time.

Hardware: not compiled at this size, and not run. `synthesis` takes all cores of the host: about 25 core-hours for 1M
figures. On a pod (`docs/running.md`), on every worker, and then the paper's search:

    python -m rl_reason.train --config=configs/alphageometry.py --workdir=/mnt/runs/alphageometry
    python -m rl_reason.prove --model=/mnt/runs/alphageometry/policy/export --data=imo_ag_30 --dir=DATA --beam=512 \\
        --depth=16 --samples=32 --max_tokens=512 --output=/mnt/runs/alphageometry/imo_ag_30

Variant `tiny`: the same stages for two CPU cores, with a model of 0.8M parameters. It deviates in size, in learning
rates, in that each problem is written in eight ways, and in GRPO's settings: β 0, 8 completions of a question. Held out
are problems whose premises no training problem has; the engine alone solves none of them, which is how they are made.
27 to 45 minutes on one core; half of the premises are left to reinforcement (`experiments/alphageometry`).
"""

from pathlib import Path

from rl_reason.runtime.config import check_variant, read
from rl_reason.settings import defaults, pipeline

HERE = Path(__file__).parent
WORKERS = 16
"""Engines of a host, of which each takes a core."""
PROBLEMS, REINFORCEMENT, HELD_OUT = (
    f"stage:synthesis/{name}.jsonl" for name in ("problems", "reinforcement", "held_out")
)


def get_config(variant: str = ""):
    check_variant(variant, ("tiny",))
    return tiny() if variant == "tiny" else full()


def full():
    return pipeline(synthesis=_synthesis(), proposer=_proposer(), policy=_policy(read(str(HERE / "grpo_math.py"))))


def tiny():
    synthesis = _synthesis()
    synthesis.synthesis.figures = 9000
    synthesis.synthesis.held_out = 100
    synthesis.synthesis.reinforcement = 0.5
    synthesis.synthesis.writings = 8

    proposer = _proposer()
    proposer.steps = 300
    proposer.model.shape.update(
        hidden_size=128, intermediate_size=352, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
        initializer_range=0.05,
    )  # fmt: skip
    proposer.model.tokenizer_size = 512
    proposer.data.row_length = 256
    proposer.algorithm.batch_size = 24
    proposer.algorithm.learning_rate = 3e-3
    proposer.algorithm.warmup_steps = 40
    proposer.algorithm.final_learning_rate = 1e-4
    proposer.algorithm.b2 = 0.98
    proposer.algorithm.weight_decay = 0.05
    proposer.log.every = 10

    policy = _policy(read(str(HERE / "grpo_math.py"), "tiny"))
    policy.steps = 120
    policy.algorithm.batch_size = 256
    policy.algorithm.group_size = 8
    policy.algorithm.learning_rate = 4e-4
    policy.algorithm.kl_coef = 0.0
    for config in (proposer, policy):
        config.reward.workers = 2
        config.data.max_prompt_length = 192
        config.sampling.max_length = 64
        config.evaluation.every = 0
        config.evaluation.problems = 100
        config.evaluation.samples = 8
        config.mesh.data = -1
        config.mesh.fsdp = 1
    return pipeline(synthesis=synthesis, proposer=proposer, policy=policy)


def _synthesis():
    config = defaults()
    config.recipe = "synthesis"
    config.synthesis.figures = 5_000_000
    config.synthesis.held_out = 1000
    config.synthesis.reinforcement = 0.2
    return config


def _proposer():
    config = defaults()
    config.recipe = "supervised"
    config.steps = 20_000
    config.model.shape = dict(
        model_type="qwen2", hidden_size=1024, intermediate_size=2752, num_hidden_layers=12, num_attention_heads=8,
        num_key_value_heads=8, max_position_embeddings=2048, tie_word_embeddings=True,
    )  # fmt: skip
    config.model.tokenizer_size = 1024
    config.data.name = PROBLEMS
    config.data.template = "geometry"
    config.data.solutions = ((0, (("original", 1.0),)),)
    config.data.long_prompts = "drop"
    config.data.row_length = 1024
    config.reward.names = ("geometry",)
    config.reward.workers = WORKERS
    config.sampling.max_length = 128
    config.algorithm.batch_size = 256
    config.algorithm.reduction = "token_mean"
    config.algorithm.learning_rate = 1e-3
    config.algorithm.schedule = "cosine"
    config.algorithm.final_learning_rate = 1e-4
    config.algorithm.warmup_steps = 1000
    config.evaluation.name = HELD_OUT
    config.evaluation.problems = 0
    config.evaluation.samples = 8
    config.mesh.data = 1
    config.mesh.fsdp = -1
    return config


def _policy(config):
    """GRPO with the engine as the reward."""
    config.model.path = "stage:proposer/export"
    config.data.name = REINFORCEMENT
    config.data.problems = 0
    config.data.template = "geometry"
    config.data.max_prompt_length = 512
    config.data.long_prompts = "drop"
    config.reward.names = ("geometry",)
    config.reward.weights = (1.0,)
    config.reward.workers = WORKERS
    config.sampling.max_length = 128
    config.algorithm.group_size = 16
    config.evaluation.name = HELD_OUT
    config.evaluation.problems = 0
    config.evaluation.samples = 8
    config.evaluation.temperature = 1.0
    return config
