"""Pairs for a preference model, of completions that are ranked by their rewards: how WizardMath's model of instructions
learns, from evolved ones that another model has ranked (arXiv 2308.09583, section 2.2).

    grade the completions anew           (`reward.names`, the judge among them)
    leave out what is not to be ranked   (`selection.least`, `selection.rewrite`)
    pair those of a question             (the best with the worst, and so on inwards, while their rewards differ)

`pairs.jsonl` has rows of `problem`, `chosen` and `rejected`; `ranking.json` the numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from rl_reason.errors import RunError
from rl_reason.parallel import hosts
from rl_reason.recipes.checks.selecting import check_rank
from rl_reason.recipes.selecting import Rewrite, find_rewrite, read_graded, sift, text_of
from rl_reason.rewards.combination import Graded
from rl_reason.runtime.workdir import write_atomic
from rl_reason.settings import Selection, Settings

OUTPUT, COUNTS = "pairs.jsonl", "ranking.json"


def run(settings: Settings, workdir_path: str | Path) -> None:
    """Reads, grades and writes as the settings say, in `workdir_path`.

    Raises:
        RunError: no two completions of a question differ in their rewards.
    """
    check_rank(settings)
    records, graded, workdir = read_graded(settings, workdir_path)
    pairs, counts = rank(records, graded, settings.selection, find_rewrite(settings))
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    if not pairs:
        raise RunError(f"{workdir.path}: no pair is left: {told}; expected completions whose rewards differ")
    if hosts.is_first():
        write_atomic(workdir.path / OUTPUT, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in pairs))
        write_atomic(workdir.path / COUNTS, json.dumps(counts, indent=2) + "\n")
        print(f"ranked {len(records)} completions: {told}", flush=True)
    hosts.wait("rank: written")


def rank(
    records: Sequence[dict], graded: Graded, wanted: Selection, rewrite: Rewrite | None = None
) -> tuple[list[dict], dict[str, int]]:
    """The pairs, and how many completions and pairs there were; arguments as of `selecting.select`."""
    left, made, counts = sift(records, graded, wanted, rewrite)
    of_question: dict[tuple, list[int]] = {}
    for index in left:
        of_question.setdefault((records[index].get("source"), records[index]["id"]), []).append(index)
    pairs = []
    for rows in of_question.values():
        best_first = sorted(rows, key=lambda index: -graded.total[index])
        for number, (better, worse) in enumerate(_inwards(best_first)):
            if number == wanted.pairs or graded.total[better] <= graded.total[worse]:
                break
            sides = {"chosen": text_of(made[better]), "rejected": text_of(made[worse])}
            rewards = {"rewards": [float(graded.total[better]), float(graded.total[worse])]}
            row = {"id": f"{records[better]['id']}/{number}", "problem": records[better]["problem"]}
            pairs.append(row | sides | rewards)
    return pairs, counts | {"pairs": len(pairs)}


def _inwards(rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last, second and last but one, …; the middle one of an odd number is in none."""
    half = len(rows) // 2
    return zip(rows[:half], rows[::-1][:half], strict=True)
