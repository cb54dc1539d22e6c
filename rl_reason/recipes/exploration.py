"""What a step explores: completions of questions, with their rewards."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rl_reason.data.iterators import EncodedPrompt
from rl_reason.recipes.evaluation import Samples
from rl_reason.rewards.combination import UNJUDGED, Graded
from rl_reason.rewards.reflection import Reflection, reflect

OVERLONG = "overlong"
"""The part of a reward that `config.reward.overlong` adds."""


@dataclass(frozen=True)
class Exploration:
    """Q questions of G completions each; rows by question."""

    asked: list[EncodedPrompt]
    problems: list[dict]
    """Of each completion."""
    texts: list[str]
    samples: Samples
    graded: Graded
    ends: list[list[int]] = field(default_factory=list)
    """[B], where the steps of a completion end, as indices of its tokens; empty where steps have no rewards."""

    @staticmethod
    def join(parts: Sequence[Exploration]) -> Exploration:
        return Exploration(
            asked=[prompt for part in parts for prompt in part.asked],
            problems=[problem for part in parts for problem in part.problems],
            texts=[text for part in parts for text in part.texts],
            samples=Samples.join([part.samples for part in parts]),
            graded=Graded.join([part.graded for part in parts]),
            ends=[ends for part in parts for ends in part.ends],
        )

    @property
    def group_size(self) -> int:
        return len(self.texts) // len(self.asked)

    @functools.cached_property
    def correct(self) -> np.ndarray:
        """bool [B]."""
        return np.array([verdict == "correct" for verdict in self.graded.verdicts])

    @functools.cached_property
    def reflections(self) -> list[Reflection]:
        """[B], of each completion."""
        return [reflect(text) for text in self.texts]

    def differing(self) -> np.ndarray:
        """The questions whose completions have different rewards, int [Q']: the others teach nothing within a group.

        Of steps all rewards of a group are compared. The penalty on overlong completions is none of them: a group whose
        answers are all right or all wrong is drawn again whatever their lengths (DAPO, arXiv 2503.14476, equation 11).
        """
        graded, group = self.graded, self.group_size
        total_B = np.round(graded.total - graded.parts.get(OVERLONG, 0), 5)  # a float32 sum is exact to so many digits
        if not graded.steps:
            rewards_QG = total_B.reshape(-1, group)
            return np.flatnonzero(rewards_QG.max(axis=1) > rewards_QG.min(axis=1))
        rows = zip(graded.steps, total_B.tolist(), strict=True)
        of_rows = [{*np.round([*rewards[:-1], rewards[-1] + total], 5).tolist()} for rewards, total in rows]
        of_groups = [set().union(*of_rows[i : i + group]) for i in range(0, len(of_rows), group)]
        return np.flatnonzero([len(rewards) > 1 for rewards in of_groups])

    def passes(self) -> np.ndarray:
        """How many completions of each question are correct, float64 [Q]; NaN where no rule judges them."""
        judged_B = [verdict != UNJUDGED for verdict in self.graded.verdicts]
        return np.where(judged_B, self.correct, np.nan).reshape(-1, self.group_size).sum(axis=1)

    def step_rewards(self) -> tuple[np.ndarray, np.ndarray]:
        """The reward of each step at the token that ends it, float32 [B, T], and 1 at these tokens. What is given for
        the whole completion counts with its last step."""
        rewards_BT, ends_BT = np.zeros((2, *self.samples.tokens.shape), np.float32)
        for row, (ends, rewards) in enumerate(zip(self.ends, self.graded.steps, strict=True)):
            ends_BT[row, ends] = 1
            rewards_BT[row, ends] = rewards
            rewards_BT[row, ends[-1:]] += self.graded.total[row]
        return rewards_BT, ends_BT

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
            ends=[self.ends[row] for row in rows] if self.ends else [],
        )
