"""The curves of R1-Zero: accuracy and length rise, and words of reflection, with length or by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.claims import Claim, over_seeds
from experiments.r1_zero.run import words_per_thousand

PLACE = "(DeepSeek-R1, version 1, section 2.2)"


def claims(results: Sequence[Mapping]) -> list[Claim]:
    ends = [(result["evaluations"][0], result["evaluations"][-1]) for result in results]
    gain = lambda name: [after[name] - before[name] for before, after in ends]  # noqa: E731
    longer = f"grow throughout {PLACE[:-1]}: a curve)"
    reflection = f"become more frequent {PLACE[:-1]}: a curve)"
    return [
        over_seeds("pass@1, after − before, points", f"AIME 2024: 15.6 → 71.0 {PLACE}", gain("pass@1")),
        over_seeds(
            "majority of 8 − pass@1, after, points",
            f"AIME 2024: 86.7 against 71.0 {PLACE}",
            [after["maj@8"] - after["pass@1"] for _, after in ends],
        ),
        over_seeds("tokens of a completion, after − before", longer, gain("tokens/completion"), scale=1),
        over_seeds("tokens of a right one, after − before", longer, gain("tokens/right"), scale=1),
        over_seeds(
            "words of reflection a completion (a longer one has more of all words), after − before", reflection,
            gain("reflection/words"), scale=1, digits=3,
        ),
        over_seeds(
            "words of reflection per thousand tokens, after − before", reflection,
            [words_per_thousand(after) - words_per_thousand(before) for before, after in ends], scale=1, digits=2,
        ),
        over_seeds("completions that correct a calculation, after − before, points", "–", gain("correction/rate"),
                   digits=2),
    ]  # fmt: skip
