"""Makes the shipped checkpoints: base models in small, trained from random weights.

`checkpoints/tiny` has about 0.8M parameters (Qwen2's layout) and a tokenizer of 512 tokens, on generated word problems.
It learns to work problems out, then its text becomes a mixture in which most answers are blurted out: like a base model
it can reason and mostly does not, so that reinforcement has something to find.

    python -m rl_reason.train --config=configs/sft_tiny.py --workdir=runs/sft_tiny
    cp runs/sft_tiny/export/* checkpoints/tiny/

Variant `bilingual` makes `checkpoints/bilingual`: problems in English and Chinese, and a share of short requests, which
are mostly answered curtly. Its text works problems out in English four times as often as in Chinese, whatever language
the question is in, nearly as often in both at once, and now and then with a wrong calculation that is corrected. So it
mixes languages, and reasons best in the one that its text has most of. Variant `student` makes
`checkpoints/bilingual_student` on the same text, with the same tokenizer and less than a quarter of the parameters.

    python -m rl_reason.train --config=configs/sft_tiny.py:bilingual --workdir=runs/sft_bilingual
    cp runs/sft_bilingual/export/* checkpoints/bilingual/

Variants `tiny`, `bilingual_tiny` and `student_tiny` are smoke tests of one minute.
"""

from rl_reason.runtime.config import check_variant
from rl_reason.settings import defaults

WORKED = (("worked", 1.0),)
MIXED = (("worked", 0.2), ("bare", 0.4), ("plain", 0.4))
TWO_WORKED = (("english", 0.45), ("mixed", 0.33), ("chinese", 0.11), ("corrected", 0.11))
TWO_MIXED = (
    ("english", 0.09), ("mixed", 0.07), ("chinese", 0.02), ("corrected", 0.02), ("bare", 0.4), ("plain", 0.4),
)  # fmt: skip


def get_config(variant: str = ""):
    check_variant(variant, ("tiny", "bilingual", "bilingual_tiny", "student", "student_tiny"))
    config = defaults()
    config.recipe = "supervised"
    config.steps = 1600
    config.model.shape = dict(
        model_type="qwen2", hidden_size=128, intermediate_size=352, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.05, max_position_embeddings=2048, tie_word_embeddings=True,
    )  # fmt: skip
    config.data.name = "word_problems"
    config.data.template = "question"
    config.data.max_prompt_length = 80
    config.data.solutions = ((0, WORKED), (1250, MIXED))
    config.sampling.max_length = 160
    config.reward.names = ("marked_number",)
    config.algorithm.batch_size = 48
    config.algorithm.reduction = "token_mean"
    config.algorithm.learning_rate = 3e-3
    config.algorithm.schedule = "cosine"
    config.algorithm.final_learning_rate = 1e-4
    config.algorithm.warmup_steps = 100
    config.algorithm.b2 = 0.98
    config.algorithm.weight_decay = 0.05
    config.evaluation.every = 400
    config.evaluation.problems = 200
    config.evaluation.samples = 4
    config.checkpoint.every = 250
    config.log.every = 10
    worked, mixed = WORKED, MIXED
    if variant.startswith(("bilingual", "student")):
        worked, mixed = TWO_WORKED, TWO_MIXED
        config.data.name = "bilingual_problems+requests"
        config.steps = 1000
        config.data.solutions = ((0, worked), (820, mixed))
        config.data.row_length = 200
        config.data.long_prompts = "drop"
        config.data.max_prompt_length = 96
        config.model.tokenizer_size = 1024
        config.sampling.max_length = 128
        config.algorithm.batch_size = 26
        config.evaluation.name = "bilingual_problems"
    if variant.startswith("student"):
        config.model.shape.update(hidden_size=64, intermediate_size=128)
        config.steps = 2400
        config.data.solutions = ((0, worked), (2000, mixed))
        config.algorithm.batch_size = 16
        config.evaluation.every = 800
    if variant.endswith("tiny"):
        config.steps = 20
        config.data.solutions = ((0, worked), (10, mixed))
        config.algorithm.batch_size = 8
        config.algorithm.warmup_steps = 5
        config.evaluation.every = 0
        config.evaluation.problems = 16
        config.evaluation.samples = 2
        config.log.every = 1
    return config
