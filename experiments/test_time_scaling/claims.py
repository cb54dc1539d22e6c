"""Ways to spend tokens on an answer, and what RL does to maj@K and pass@K."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.claims import SAME, Claim, over_problems, over_seeds

RERANKED = "MATH-500, of 1860: 78.2 against 69.6 (Let's Verify, figure 3)"
BEAMS = "beams ahead where few samples may be drawn (arXiv 2408.03314, section 5: figures)"
FIGURE = "(DeepSeekMath, figure 7: curves)"
FLAT = {"trained": 8, "longer": 64}
"""K of a claim about pass@K. On problems as long as in training 64 samples solve all of them before RL already and
could not show a rise; 8 leave room for one."""


def claims(results: Mapping) -> list[Claim]:
    n = results["problems"] * results["seeds"]

    def compared(what: str, paper: str, later: str, earlier: str, size: int) -> Claim:
        (found,) = [
            one
            for one in results["compared"]
            if (one["later"], one["earlier"], one["sizes"][0]) == (later, earlier, size)
        ]
        return over_problems(what + ", points", paper, found["difference"], found["ci95"], n)

    def ends(data: str, measure: str, size: int) -> list[Mapping]:
        """The points before and after RL."""
        of_data = results["before_after"][data]
        return [next(p for p in of_data[when][measure] if p["size"] == size) for when in ("before", "after")]

    def change(data: str, measure: str, size: int) -> list[float]:
        before, after = (point["by_seed"] for point in ends(data, measure, size))
        return [a - b for a, b in zip(after, before, strict=True)]

    made = [
        compared(f"best of {size} by a process reward model − majority", RERANKED, "best", "majority", size)
        for size in (16, 64)
    ]
    made.append(compared("weighted majority of 64 − majority", "–", "weighted", "majority", 64))
    made += [
        compared(f"beam of {width} − best of as many tokens", BEAMS, "beam", "best", 4 * width)
        for width in (1, 2, 4, 8)
    ]
    for data, label in (("trained", "problems as in training"), ("longer", "problems one event longer")):
        made += [
            over_seeds(f"{label}: maj@{k}, after RL − before, points", f"Maj@K rises {FIGURE}", change(data, "maj", k))
            for k in (8, 64)
        ]
        what = f"{label}: pass@{FLAT[data]}, after RL − before"
        if FLAT[data] < 64:
            what += " (of 64 {:.0%} → {:.0%}: nothing to see)".format(*(p["accuracy"] for p in ends(data, "pass", 64)))
        made.append(over_seeds(what + ", points", f"flat {FIGURE}", change(data, "pass", FLAT[data]), SAME))
    return made
