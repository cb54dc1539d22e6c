"""What a reward model says of the questions themselves: WizardMath's r_instruction (arXiv 2308.09583, section 2.3).

It multiplies the reward of every completion of its question: r = r_instruction · r_answer, where r_answer is what all
other parts give, for example the least probability of a step (`reward.aggregation="minimum"`). The model is a
preference model of questions (template "instruction"); the sigmoid of its score lies between 0 and 1.

A factor that all completions of a question share cancels where an advantage is divided by the spread of the group
(GRPO, DAPO): only a critic (PPO), or advantages that are not divided so, see that one question counts for more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rl_reason.data.iterators import EncodedPrompt
from rl_reason.data.labelled import Judged
from rl_reason.data.templates import instruction
from rl_reason.data.tokenization import encode_prompt
from rl_reason.errors import RunError, UsageError
from rl_reason.parallel import hosts
from rl_reason.recipes.completions import completion_scores, make_scoring
from rl_reason.recipes.learned_rewards import describe_scores, kind_of, sigmoid
from rl_reason.recipes.reward_model import make_labelled_batch
from rl_reason.recipes.setup import Model, check_length
from rl_reason.runtime.progress import late_progress
from rl_reason.settings import Reward

INSTRUCTION = "instruction"
"""The factor, as it stands among the parts of a reward."""
KEY = "config.reward.instruction_model"
AT_ONCE = 512
"""Questions that are scored together."""


def describe_instruction_model(reward: Reward, policy: Model) -> Model:
    """The model of questions, without its weights.

    Raises:
        UsageError: no such folder, another tokenizer than the policy's, or a model of completions or steps.
    """
    model = describe_scores(reward.instruction_model, policy, KEY)
    if kind_of(model.config) != "preference":
        raise UsageError(
            f"{KEY}={reward.instruction_model!r}: was trained for {kind_of(model.config)}; expected a preference "
            "model, of questions"
        )
    return model


class Questions:
    """Questions as the model of questions reads them: behind the line of the template "instruction", with an end.

    Args:
        model: whose tokenizer it is.
        problems: all of a data set.
        prompts: those of them that are asked.

    Raises:
        UsageError: a question is longer than the model's positions.
    """

    def __init__(self, model: Model, problems: Sequence[Mapping], prompts: Sequence[EncodedPrompt]):
        self.model = model
        self._problems = problems
        self._indices = [prompt.index for prompt in prompts]
        line = encode_prompt({}, instruction, model.tokenizer)
        texts = [problems[index]["problem"] for index in self._indices]
        end = model.tokenizer.eos_token_id
        self._rows = []
        for ids in model.tokenizer(texts, add_special_tokens=False)["input_ids"]:
            tokens = [*ids, end]
            self._rows.append(Judged("", line, tokens, [len(tokens) - 1], [None]))
        self._longest = max(len(row.completion_ids) for row in self._rows)
        check_length(model, len(line), self._longest, f"{KEY}: the longest question")

    def factors(self, micro_batch: int) -> dict[int, np.float32]:
        """Index of a problem → what the rewards of its completions are multiplied with, from 0 to 1. All are computed
        at once, before the first step, so that they are the same for a run that is resumed.

        Args:
            micro_batch: as in `completions.make_scoring`.

        Raises:
            RunError: the model gave what is no number.
        """
        score = make_scoring(self.model, completion_scores, micro_batch)
        params = self.model.load_params(0, self.model.dtype)  # All of them are in its folder.
        made: dict[int, np.float32] = {}
        with late_progress("score questions", len(self._rows), enabled=hosts.is_first()) as advance:
            for start in range(0, len(self._rows), AT_ONCE):
                part = self._rows[start : start + AT_ONCE]
                # The last part is filled up, so that there are few shapes.
                filled = part + part[:1] * (AT_ONCE - len(part) if start else 0)
                shape = (len(part[0].prompt_ids), self._longest)
                batch = make_labelled_batch([(row,) for row in filled], shape, self.model.pad_id)
                scores_BT = score.begin(params, batch)()
                for index, row, scores in zip(self._indices[start:], part, scores_BT, strict=False):
                    made[index] = np.float32(sigmoid(scores[row.ends[0]]))
                    self._check(made[index], index)
                advance(len(part))
        return made

    def _check(self, factor: np.float32, index: int) -> None:
        if not np.isfinite(factor):
            raise RunError(f"{KEY} gave {factor} to {self._problems[index]['id']}; expected a finite number")
