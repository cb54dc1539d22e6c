"""A reward model that says which of several completions to take (best-of-N, weighted majority)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rl_reason.data.iterators import EncodedPrompt
from rl_reason.data.steps import make_step_ends
from rl_reason.errors import RunError
from rl_reason.recipes.evaluation import Judge, Samples
from rl_reason.recipes.learned_rewards import make_reward_model
from rl_reason.recipes.rollout import make_batch
from rl_reason.recipes.setup import Model
from rl_reason.settings import Reward


def make_judge(reward: Reward, model: Model, samples: int, rows: int) -> Judge:
    """The judge that `reward` describes; loads its weights.

    Args:
        reward: `model`, `aggregation` and `step_separator`.
        model: as `learned_rewards.describe_reward_model` gives it.
        samples: of each prompt.
        rows: as `micro_batch` in `completions.make_scoring`.
    """
    reward_model = make_reward_model(reward, model, rows)
    params = model.load_params(0, model.dtype)
    step_ends = make_step_ends(model.tokenizer, reward.step_separator)

    def judge(prompts: Sequence[EncodedPrompt], made: Samples, length: int) -> Callable[[], np.ndarray]:
        ends = [step_ends(row) for row in made.rows()] if reward_model.kind == "process" else []
        wait = reward_model.begin(params, make_batch(prompts, made, samples, length, model.pad_id))

        def scores() -> np.ndarray:
            scores_B = reward_model.of_completions(wait(), made.lengths, ends)
            if not np.isfinite(scores_B).all():
                raise RunError(f"{reward.model}: the reward model gave a score that is no finite number")
            return scores_B

        return scores

    return judge
