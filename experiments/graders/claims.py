"""Reference solutions are right, those of other problems wrong, and people agree."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.claims import Bounds, Claim, of_all

GRADERS = ("math", "number")


def claims(results: Mapping) -> list[Claim]:
    def pooled(part: str, failures: str, grader: str) -> tuple[int, int]:
        """How many failed of how many, over the data sets."""
        rows = [one for name, one in results[part].items() if name.endswith(f", {grader}")]
        return sum(len(one[failures]) for one in rows), sum(one["n"] for one in rows)

    made = []
    for grader in GRADERS:
        failed, n = pooled("reflexive", "not correct", grader)
        made.append(
            of_all(f"`{grader}`: reference solutions called correct, %", "–", n - failed, n, Bounds(above=99.9))
        )
        passed, n = pooled("swapped", "not wrong", grader)
        made.append(
            of_all(f"`{grader}`: solutions of other problems called correct, %", "–", passed, n, Bounds(below=0.1))
        )
    labelled = results["labelled"]
    agreed = labelled["n"] - len(labelled["disagreements"])
    made.append(of_all("`math`: same verdict as PRM800K's raters, %", "–", agreed, labelled["n"], Bounds(above=90)))
    return made
