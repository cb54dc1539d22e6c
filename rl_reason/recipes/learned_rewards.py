"""Rewards that a model gives: to completions, and to their steps.

What the model was trained for stands in its `config.json`, as the label of its one score: "outcome" (whether the
completion is right, at its last token), "process" (whether a step is, at its last token) or "preference" (a number
without a scale, at the last token). Any other label is taken as the last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rl_reason.errors import RunError, UsageError
from rl_reason.models.config import ModelConfig
from rl_reason.models.weights import Params
from rl_reason.recipes.completions import Batch, Score, completion_scores, make_scoring
from rl_reason.recipes.setup import Model, describe_scorer
from rl_reason.rewards.combination import MODEL
from rl_reason.settings import Reward

AGGREGATIONS: dict[str, Callable[[np.ndarray], float]] = {
    "product": lambda p: float(np.prod(p)),
    "minimum": lambda p: float(np.min(p)),
    "last": lambda p: float(p[-1]),
}
"""How the probabilities of steps become one of the completion (Let's Verify Step by Step, arXiv 2305.20050,
appendix F)."""


@dataclass(frozen=True)
class RewardModel:
    kind: str
    """"outcome", "process" or "preference"."""
    score: Score
    aggregation: str
    """Of what a process model says; a key of `AGGREGATIONS`."""

    def begin(self, params: Params, batch: Batch) -> Callable[[], np.ndarray]:
        """Dispatches; what it returns waits, and gives the score of each token, float32 [B, T]: a probability, or of a
        preference model a number without a scale."""
        wait = self.score.begin(params, batch)
        return wait if self.kind == "preference" else lambda: sigmoid(wait())

    def of_completions(self, scores_BT: np.ndarray, lengths_B: np.ndarray, ends: Sequence[Sequence[int]]) -> np.ndarray:
        """The reward of each completion, float32 [B]. `ends` says where steps end; only a process model reads it."""
        if self.kind != "process":
            return np.array([row[n - 1] for row, n in zip(scores_BT, lengths_B, strict=True)], np.float32)
        aggregate = AGGREGATIONS[self.aggregation]
        return np.array([aggregate(row[list(of_row)]) for row, of_row in zip(scores_BT, ends, strict=True)], np.float32)

    def of_steps(self, scores_BT: np.ndarray, ends: Sequence[Sequence[int]]) -> list[list[float]]:
        """The reward of each step."""
        return [row[list(of_row)].tolist() for row, of_row in zip(scores_BT, ends, strict=True)]


def kind_of(config: ModelConfig) -> str:
    """What a model with a score was trained for."""
    label = (config.hf.get("id2label") or {}).get("0")
    return label if label in ("outcome", "process") else "preference"


def describe_reward_model(reward: Reward, policy: Model, by_config: bool = False) -> Model:
    """The reward model, without its weights; `by_config` as in `setup.describe_scorer`.

    Raises:
        UsageError: no such folder, one whose tokenizer is not the policy's, or one that does not judge steps where
            `steps` asks it to.
    """
    model = describe_scores(reward.model, policy, "config.reward.model", by_config)
    if reward.steps == MODEL and kind_of(model.config) != "process":
        raise UsageError(
            f"config.reward.steps='model': config.reward.model={reward.model!r} was trained for "
            f"{kind_of(model.config)}; expected a process reward model"
        )
    return model


def describe_scores(path: str, policy: Model, key: str, by_config: bool = False) -> Model:
    """A model with a trained score; arguments as in `setup.describe_scorer`.

    Raises:
        UsageError: as there; and where the folder's model predicts tokens.
    """
    model = describe_scorer(policy, path, key, by_config)
    architecture = (model.config.hf.get("architectures") or ["none"])[0]
    if not architecture.endswith("ForSequenceClassification"):
        raise UsageError(
            f"{key}={path!r}: expected a model with one score (…ForSequenceClassification), found {architecture}"
        )
    return model


def make_reward_model(reward: Reward, model: Model, micro_batch: int) -> RewardModel:
    """`micro_batch` as in `completions.make_scoring`."""
    return RewardModel(kind_of(model.config), make_scoring(model, completion_scores, micro_batch), reward.aggregation)


def check_finite(scores: Iterable[Sequence[float]], problems: Sequence[dict], step: int) -> None:
    """Raises `RunError` where the model gave a completion, or one of its steps, what is no number: the weights are
    broken then, and with a 0 in its place the run would learn from them."""
    for row, (of_row, problem) in enumerate(zip(scores, problems, strict=True)):
        if not np.all(np.isfinite(of_row)):
            bad = next(float(score) for score in of_row if not np.isfinite(score))
            raise RunError(
                f"step {step}: config.reward.model gave {bad} to completion {row} of the batch, of {problem['id']}; "
                "expected a finite number"
            )


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e^−x), float32."""
    # Of what is far from 0 both ways without an overflow.
    return (0.5 * (1 + np.tanh(x / 2))).astype(np.float32)
