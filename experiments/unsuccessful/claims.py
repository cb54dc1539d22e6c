"""Reward hacking, and data made by tree search."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.claims import LESS, NEAR, SAME, Bounds, Claim, over_seeds
from experiments.unsuccessful.figures import since
from experiments.unsuccessful.hacking import ARMS, accuracy_at, learned_at

PLACE = "(DeepSeek-R1, unsuccessful attempts: no numbers)"


def claims(results: Mapping) -> list[Claim]:
    made = []
    for name, runs in results["hacking"].items():
        begin = since(name)
        when = f"{f'after {begin:.0%} of the steps' if begin else 'start'} → end"
        changes = [accuracy_at(run, 1.0) - accuracy_at(run, begin) for run in runs]
        rises = [learned_at(run, 1.0) - learned_at(run, begin) for run in runs]
        if name == "rule":
            made.append(over_seeds(f"{ARMS[name].label}: pass@1, {when}, points", "–", changes,
                                   SAME))  # fmt: skip
            continue
        made.append(
            over_seeds(f"{ARMS[name].label} maximized: pass@1, {when}, points", f"hacked {PLACE}", changes, LESS)
        )
        made.append(over_seeds(f"… the learned reward, {when}", f"goes on rising {PLACE}", rises, scale=1, digits=3))
    search, sampling = (
        [[row["pass@1"] for row in run] for run in results["search"][arm]] for arm in ("search", "sampling")
    )
    made += [
        over_seeds(
            "tree search: pass@1, last round − first, points",
            f"does not get better and better {PLACE}",
            [run[-1] - run[1] for run in search],
            Bounds(below=NEAR),
        ),
        over_seeds(
            "pass@1 after the last round, tree search − rejection sampling of as many tokens, points",
            "–",
            [a[-1] - b[-1] for a, b in zip(search, sampling, strict=True)],
        ),
    ]
    return made
