"""Programs that have to pass do, and those that have to fail do."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.claims import Bounds, Claim, of_all

SETS = {"humaneval": "HumanEval", "mbpp": "MBPP"}
"""MBPP's sanitized part is among MBPP."""


def claims(results: Mapping) -> list[Claim]:
    return [
        of_all(
            f"{label}: {one['kind']}, has to {'pass' if one['has_to_pass'] else 'fail'} and does, %",
            "–",
            one["n"] - len(one["odd"]),
            one["n"],
            Bounds(above=97),
        )
        for name, label in SETS.items()
        for one in results["graded"][name]
    ]
