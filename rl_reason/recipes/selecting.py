"""Which generated completions are learned from: DeepSeek-R1's rejection sampling (arXiv 2501.12948, section 2.3.3).

    grade the completions anew                               (`reward.names`: right, readable, in one language, …)
    keep of each question those that have all that it takes  (`selection.least`), and differ
    write them as solutions                                  (selected.jsonl)

`selection.json` says how many are left after each sieve.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rl_reason.data.generated import problem_of, read_shards
from rl_reason.data.problems import check_problem
from rl_reason.data.selection import fingerprint
from rl_reason.data.word_runs import words
from rl_reason.errors import RunError, UsageError
from rl_reason.parallel import hosts
from rl_reason.recipes.checks.selecting import check_select
from rl_reason.recipes.grading import grade
from rl_reason.registry import resolve
from rl_reason.rewards.combination import Graded, Rewarder
from rl_reason.runtime.progress import late_progress
from rl_reason.runtime.workdir import Workdir, find_workdir, make_workdir, write_atomic
from rl_reason.settings import Selection, Settings

OUTPUT, COUNTS = "selected.jsonl", "selection.json"
AT_ONCE = 2048
"""Completions that are graded before the bar moves."""


def run(settings: Settings, workdir_path: str | Path) -> None:
    """Reads, grades and writes as the settings say, in `workdir_path`.

    Raises:
        RunError: no completion is left.
    """
    check_select(settings)
    records, graded, workdir = read_graded(settings, workdir_path)
    wanted, rewrite = settings.selection, find_rewrite(settings)
    selected, counts = select(records, graded, wanted, rewrite)
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    if not selected:
        raise RunError(
            f"{workdir.path}: no completion is left: {told}; expected other config.selection.least or inputs"
        )
    if hosts.is_first():
        write_atomic(workdir.path / OUTPUT, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in selected))
        write_atomic(workdir.path / COUNTS, json.dumps(counts, indent=2) + "\n")
        print(f"selected {len(selected)} completions: {told}", flush=True)
    hosts.wait("select: written")


def read_graded(settings: Settings, workdir_path: str | Path) -> tuple[list[dict], Graded, Workdir]:
    """The completions of `selection.inputs`, graded anew, and the folder that is made for what becomes of them."""
    wanted, config = settings.selection, settings.to_config().to_dict()
    find_rewrite(settings)
    records = [record for folder in wanted.inputs for record in read_shards(folder)]
    if not records:
        raise UsageError(f"config.selection.inputs={wanted.inputs!r}: hold no completions; expected some")
    workdir = find_workdir(workdir_path, config)
    hosts.wait("select: looked at")
    if hosts.is_first():
        make_workdir(workdir, config)
    parts = []
    with (
        Rewarder(settings.reward, settings.judge) as rewarder,
        late_progress("grade completions", len(records), enabled=hosts.is_first()) as advance,
    ):
        for some in (records[i : i + AT_ONCE] for i in range(0, len(records), AT_ONCE)):
            parts.append(grade(rewarder, [record["completion"] for record in some], some))
            advance(len(some))
    return records, Graded.join(parts), workdir


Made = str | dict[str, Any] | None
"""What a completion becomes: a text that is learned, the fields of a problem, or nothing."""
Rewrite = Callable[[str, dict], Made]


def find_rewrite(settings: Settings) -> Rewrite | None:
    """The function in `selection.rewrite`; raises `UsageError` where there is no such function."""
    name = settings.selection.rewrite
    return resolve(name, {}, "config.selection.rewrite") if name else None


def select(
    records: Sequence[dict],
    graded: Graded,
    wanted: Selection,
    rewrite: Rewrite | None = None,
) -> tuple[list[dict], dict[str, int]]:
    """The rows that are learned from, problems with the completion as their `solution`, or the new problems that
    `rewrite` makes of completions; and how many completions each sieve has left, in order.

    Args:
        records: completions with their problems' fields.
        graded: the same, graded.
        wanted: sieves.
        rewrite: changes a completion that is kept, makes a problem of it, or drops it with None.
    """
    left, texts, counts = sift(records, graded, wanted, rewrite)
    return [_row(records[i], texts[i]) for i in left], counts


def sift(
    records: Sequence[dict], graded: Graded, wanted: Selection, rewrite: Rewrite | None
) -> tuple[list[int], dict[int, str | dict[str, Any]], dict[str, int]]:
    """The numbers of the completions that are left, in order; what each of them becomes; and the counts of `select`."""
    failed = {failure["index"] for failure in graded.failures}
    left = list(range(len(records)))
    counts = {"sampled": len(left)}

    def sieve(name: str, keeps: Callable[[int], bool]) -> None:
        left[:] = [index for index in left if keeps(index)]
        counts[name] = len(left)

    sieve("ended", lambda i: records[i]["finish"] == "stop" and i not in failed)
    for name, least in wanted.least:
        enough = graded.parts[name] >= least
        sieve(f"with {name} ≥ {least:g}", enough.__getitem__)
    texts: dict[int, str | dict[str, Any]] = {i: records[i]["completion"] for i in left}
    if rewrite:
        made = {i: rewrite(records[i]["completion"], records[i]) for i in left}
        texts = {i: one for i, one in made.items() if one}
        sieve("rewritten", texts.__contains__)
    of_question: dict[tuple, set] = {}

    def is_new(index: int) -> bool:
        seen = of_question.setdefault((records[index].get("source"), records[index]["id"]), set())
        mark = _mark(texts[index])
        new = mark not in seen and (not wanted.keep or len(seen) < wanted.keep)
        if new:
            seen.add(mark)
        return new

    sieve("different", is_new)
    return left, texts, counts


def text_of(made: str | dict[str, Any]) -> str:
    """Of a new problem its text."""
    return made if isinstance(made, str) else made["problem"]


def _mark(made: str | dict[str, Any]) -> tuple[str, ...]:
    """Equal where two say the same: completions by their calculations, problems by their words."""
    return fingerprint(made) if isinstance(made, str) else tuple(words(made["problem"]))


def _row(record: dict, made: str | dict[str, Any]) -> dict:
    problem = problem_of(record)
    if isinstance(made, str):
        return problem | {"solution": made}
    # Nothing that was known of the problem that it comes from is known of the new one.
    return check_problem(
        {"id": problem["id"], **made, "evolved_from": record["id"]}, "config.selection.rewrite", problem["id"]
    )
