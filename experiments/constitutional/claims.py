"""Harm and helpfulness over the stages of Constitutional AI, and over-optimisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean

from experiments.claims import LESS, SAME, Claim, over_seeds
from experiments.constitutional.run import WINDOW

FIGURE = "(Constitutional AI: figures)"
KEPT, HELPFUL = "assistant_red_team", "assistant_questions"


def claims(results: Sequence[Mapping]) -> list[Claim]:
    def paired(later: str, earlier: str, kind: str) -> list[float]:
        return [one["stages"][later][kind][0] - one["stages"][earlier][kind][0] for one in results]

    long = [one["long"] for one in results]
    answers = [one["evaluations"][-1][HELPFUL][0] - one["evaluations"][0][HELPFUL][0] for one in long]
    learned = [mean(one["rollouts"]["learned"][-WINDOW:]) - mean(one["rollouts"]["learned"][:WINDOW]) for one in long]
    return [
        over_seeds(
            "secrets kept, tuned on revisions − start, points",
            f"harmlessness rises {FIGURE}",
            paired("tuned", "start", KEPT),
        ),
        over_seeds(
            "secrets kept, reinforced by AI feedback − tuned, points",
            f"harmlessness rises again {FIGURE}",
            paired("policy", "tuned", KEPT),
        ),
        over_seeds(
            "questions answered, reinforced − start, points",
            f"nearly the helpfulness of the start {FIGURE}",
            paired("policy", "start", HELPFUL),
            SAME,
        ),
        over_seeds(
            "over-optimised: questions answered, end − start, points", f"evasive, whatever is asked {FIGURE}",
            answers, LESS,
        ),
        over_seeds(
            "over-optimised: learned reward, end − start, in its units", f"rises meanwhile {FIGURE}", learned, scale=1
        ),
    ]  # fmt: skip
