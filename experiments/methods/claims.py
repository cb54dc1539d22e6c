"""DeepSeekMath's orderings, and PPO beside GRPO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from experiments.claims import SAME, Claim, over_seeds
from experiments.methods.run import ORDER, RUNS

FIGURE = "later one ahead (DeepSeekMath, figure 5: curves)"


def claims(results: Mapping[str, Sequence[Mapping]]) -> list[Claim]:
    after = {name: [run["after"]["pass@1"] for run in runs] for name, runs in results.items()}
    paired = lambda later, earlier: [a - b for a, b in zip(after[later], after[earlier], strict=True)]  # noqa: E731
    start = [run["after"]["pass@1"] - run["before"]["pass@1"] for run in results[ORDER[0]]]
    iterations = [run["pass@1"][-1] - run["pass@1"][len(run["pass@1"]) // 2] for run in results["iterative"]]
    return [
        over_seeds(f"{RUNS[ORDER[0]].label} − start, pass@1, points", FIGURE, start),
        *(
            over_seeds(f"{RUNS[b].label} − {RUNS[a].label}, pass@1, points", FIGURE, paired(b, a))
            for a, b in pairwise(ORDER)
        ),
        over_seeds(
            "iterative GRPO, second iteration − first, pass@1, points",
            "gains on top of the first (DeepSeekMath, figure 6: curves)",
            iterations,
        ),
        over_seeds(
            "PPO with λ = 1 − GRPO, pass@1, points",
            "nearly as good (DeepSeek-R1, version 2, appendix A.3: curves)",
            paired("ppo", "grpo"),
            SAME,
        ),
    ]
