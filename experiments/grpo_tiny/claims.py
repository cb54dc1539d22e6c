"""R1-Zero's rise of accuracy and length, and DeepSeekMath's figure 7."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.claims import SAME, Claim, over_seeds

FIGURE = "(DeepSeekMath, figure 7: curves)"


def claims(results: Sequence[Mapping]) -> list[Claim]:
    gain = lambda name: [result["after"][name] - result["before"][name] for result in results]  # noqa: E731
    ahead = [a - b for a, b in zip(gain("maj@8"), gain("pass@8"), strict=True)]
    return [
        over_seeds(
            "pass@1, after RL − before, points",
            "AIME 2024: 15.6 → 71.0 (DeepSeek-R1, version 1, section 2.2)",
            gain("pass@1"),
        ),
        over_seeds(
            "tokens of a completion, after RL − before",
            "grow throughout (DeepSeek-R1, version 1, section 2.2: a curve)",
            gain("tokens/completion"),
            scale=1,
        ),
        over_seeds("gain of maj@8 − gain of pass@8, points", f"Maj@K rises, Pass@K does not {FIGURE}", ahead),
        over_seeds("pass@8, after RL − before, points", f"flat {FIGURE}", gain("pass@8"), SAME),
    ]
