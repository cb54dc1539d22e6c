"""How a run goes wrong, as the papers that name the failure say it."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.claims import LESS, Claim, over_seeds
from experiments.diagnostics.run import HEALTHY


def claims(results: Mapping[str, Mapping]) -> list[Claim]:
    healthy = results[HEALTHY]
    beside = lambda name, metric: [results[name][metric][-1] - healthy[metric][-1]]  # noqa: E731
    equal = "groups/equal_rewards"
    return [
        over_seeds(
            "healthy run, groups of equal rewards, last step − first, points",
            "more and more as training goes on (DAPO, arXiv 2503.14476, figure 3b)",
            [healthy[equal][-1] - healthy[equal][0]],
        ),
        over_seeds(
            "temperature 0.1 − 1, groups of equal rewards, points",
            "samples of a group become alike where entropy collapses (DAPO, section 3.1)",
            beside("collapse", equal),
        ),
        over_seeds(
            "reward that pays for length − healthy, right completions, points",
            "what is wanted falls while the reward rises (arXiv 2210.10760, figure 1)",
            beside("length", "pass@1/train"),
            LESS,
        ),
    ]
