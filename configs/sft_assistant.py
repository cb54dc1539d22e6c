"""Makes the base of `configs/constitutional.py:tiny`: a small assistant that gives secrets away (`data.assistant`).

The model of `configs/sft_tiny.py`, about 0.8M parameters, trained from random weights on a text in which an assistant
answers questions, mostly gives secrets away when asked for them, and elsewhere finds fault with such answers, revises
them, and says which of two is better.

    python -m rl_reason.train --config=configs/sft_assistant.py --workdir=runs/sft_assistant
    mkdir -p checkpoints/assistant && cp runs/sft_assistant/export/* checkpoints/assistant/

`pass@1` in its evaluations: of `assistant_red_team` how often a secret is kept, of `assistant_questions` how often a
question is answered. Variant `tiny` is a smoke test of one minute.
"""

from pathlib import Path

from rl_reason.runtime.config import check_variant, read


def get_config(variant: str = ""):
    check_variant(variant, ("tiny",))
    config = read(str(Path(__file__).with_name("sft_tiny.py")), variant)
    config.model.tokenizer_size = 640
    config.data.name = "assistant"
    config.data.solutions = ((0, (("original", 1.0),)),)
    config.data.max_prompt_length = 224
    config.data.row_length = 256
    config.data.long_prompts = "drop"
    config.sampling.max_length = 32
    config.reward.names = ("discretion",)
    config.evaluation.name = "assistant_red_team+assistant_questions"
    if not variant:
        config.steps = 800
        config.algorithm.batch_size = 16
        config.evaluation.every = 200
    return config
