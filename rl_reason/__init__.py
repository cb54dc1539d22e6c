"""Reinforcement learning that teaches language models to reason. Commands: `python -m rl_reason.train` and so on."""

import os

# transformers is here for tokenizers and configurations. That it finds no torch is no news, and nothing to be printed
# above the one line that says what is wrong with a command.
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
