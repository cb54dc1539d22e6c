"""The same verdicts as lm-evaluation-harness."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.claims import Bounds, Claim, of_all

DATA = {"gsm8k": "GSM8K", "word_problems": "word problems", "word_problems_begun": "word problems, begun"}


def claims(results: Mapping) -> list[Claim]:
    return [
        of_all(f"{label}: same verdict as the harness, %", "–", one["same_verdict"], one["n"], Bounds(above=97))
        for name, label in DATA.items()
        for one in [results[name]]
    ]
