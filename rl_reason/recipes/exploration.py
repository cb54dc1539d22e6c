"""What a step explores: completions of questions, with their rewards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rl_reason.data.iterators import EncodedPrompt
from rl_reason.recipes.evaluation import Samples
from rl_reason.rewards.combination import Graded


@dataclass(frozen=True)
class Exploration:
    """Q questions of G completions each; rows by question."""

    asked: list[EncodedPrompt]
    problems: list[dict]
    """Of each completion."""
    texts: list[str]
    samples: Samples
    graded: Graded

    @staticmethod
    def join(parts: Sequence[Exploration]) -> Exploration:
        return Exploration(
            asked=[prompt for part in parts for prompt in part.asked],
            problems=[problem for part in parts for problem in part.problems],
            texts=[text for part in parts for text in part.texts],
            samples=Samples.join([part.samples for part in parts]),
            graded=Graded.join([part.graded for part in parts]),
        )

    @property
    def group_size(self) -> int:
        return len(self.texts) // len(self.asked)

    def differing(self) -> np.ndarray:
        """The questions whose completions have different rewards, int [Q']: the others teach nothing within a group."""
        rewards_QG = self.graded.total.reshape(-1, self.group_size)
        return np.flatnonzero(rewards_QG.max(axis=1) > rewards_QG.min(axis=1))

    def first_differing(self, count: int) -> Exploration:
        """So many questions: those whose completions differ, in their order, then of the others what is missing."""
        differing = self.differing()
        others = np.setdiff1d(np.arange(len(self.asked)), differing)
        return self._take(np.sort(np.concatenate([differing, others])[:count]))

    def _take(self, questions: np.ndarray) -> Exploration:
        rows = (questions[:, None] * self.group_size + np.arange(self.group_size)).reshape(-1)
        return Exploration(
            asked=[self.asked[q] for q in questions],
            problems=[self.problems[row] for row in rows],
            texts=[self.texts[row] for row in rows],
            samples=self.samples.take(rows),
            graded=self.graded.take(rows),
        )
