"""How a run goes wrong, as the papers that name the failure say it; and that each is due to what is blamed."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.claims import LESS, Bounds, Claim, over_seeds
from experiments.diagnostics.run import FAILURES, HEALTHY, ends

WRONG = {
    "divergence": "25 times the learning rate",
    "collapse": "rewards without a baseline",
    "too_short": "a limit of 16 tokens",
    "late": "sampler's weights eight updates old",
    "positions": "decoder that counts one position too far",
}
"""Failures by what is blamed for them."""


def claims(results: Mapping[str, Mapping]) -> list[Claim]:
    def beside(name: str, metric: str) -> list[float]:
        """The failure less its control, at the end, by seed."""
        pairs = zip(ends(results, name, metric), ends(results, FAILURES[name].control, metric), strict=True)
        return [failed - control for failed, control in pairs]

    right, equal = "pass@1/train", "groups/equal_rewards"
    first = [of[0] for of in results["runs"][HEALTHY]["metrics"][equal]]
    apart = {name: ends(results, name, "logprob_difference/mean") for name in ("float8", "bfloat16")}
    return [
        over_seeds(
            "healthy run, groups of equal rewards, end − first step, points",
            "more and more as training goes on (DAPO, arXiv 2503.14476, figure 3b)",
            [last - of_first for last, of_first in zip(ends(results, HEALTHY, equal), first, strict=True)],
        ),
        over_seeds(
            "collapse − its control, groups of equal rewards, points",
            "samples of a group become alike (DAPO, section 3.1)",
            beside("collapse", equal),
        ),
        over_seeds(
            "collapse − its control, groups with a right one, points",
            "–",
            beside("collapse", "pass@8/train"),
            LESS,
        ),
        over_seeds(
            "reward that pays for length − the same without, right completions, points",
            "what is wanted falls while the reward rises (arXiv 2210.10760, figure 1)",
            beside("length", right),
            LESS,
        ),
        over_seeds(
            "reward that pays for length − the same without, tokens a completion",
            "–",
            beside("length", "tokens/completion"),
            scale=1,
        ),
        *(
            over_seeds(f"{what} − its control, right completions, points", "–", beside(name, right), LESS)
            for name, what in WRONG.items()
        ),
        over_seeds(
            "sampler's weights rounded to eight bits − healthy run, right completions, points",
            "–",
            beside("float8", right),
            Bounds(-5, 5),
        ),
        *(
            over_seeds(f"{name}, sampler − trainer at the end, nats a token", "–", of, Bounds(below=0.01), 1, 4)
            for name, of in apart.items()
        ),
    ]
