"""A student of a teacher beside its own reinforcement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.claims import Claim, over_seeds

PLACE = "(DeepSeek-R1, version 1, section 4.1)"


def claims(results: Sequence[Mapping]) -> list[Claim]:
    def paired(later: str, earlier: str) -> list[float]:
        after = [[result["stages"][stage]["after"]["pass@1"] for stage in (later, earlier)] for result in results]
        return [a - b for a, b in after]

    return [
        over_seeds(
            "student on the teacher's selected completions − by its own reinforcement, pass@1, points",
            f"AIME 2024: 72.6 against 47.0; MATH-500: 94.3 against 91.6 {PLACE}",
            paired("student", "by_reinforcement"),
        ),
        over_seeds(
            "teacher − student by its own reinforcement, pass@1, points",
            f"AIME 2024: 79.8 against 47.0 {PLACE}",
            paired("teacher", "by_reinforcement"),
        ),
        over_seeds("student by its own reinforcement − as it starts, pass@1, points", "–",
                   paired("by_reinforcement", "student_base")),
        over_seeds("student on the teacher's distribution − as it starts, pass@1, points", "–",
                   paired("on_policy", "student_base")),
    ]  # fmt: skip
