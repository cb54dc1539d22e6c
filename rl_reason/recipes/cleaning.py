"""A set of problems without those that an evaluation asks, and without near-duplicates.

    leave out what overlaps with an evaluation      (data.contamination)
    leave out what nearly repeats an earlier one    (data.near_duplicates)

`kept.jsonl` holds the others as they were; `removed.jsonl` lists each that was left out, and because of which.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl_reason.data import sources
from rl_reason.data.contamination import Evaluated, Keys, read_texts
from rl_reason.data.near_duplicates import near_duplicates
from rl_reason.errors import RunError
from rl_reason.parallel import hosts
from rl_reason.recipes.checks.cleaning import check_clean
from rl_reason.recipes.setup import take_problems
from rl_reason.runtime.progress import late_progress
from rl_reason.runtime.workdir import find_workdir, make_workdir, write_atomic
from rl_reason.settings import Cleaning, Settings

KEYS = Keys("config.cleaning.evaluations", "config.cleaning.split", "config.data.dir")
KEPT, REMOVED, COUNTS = "kept.jsonl", "removed.jsonl", "cleaning.json"
OVERLAPS, REPEATS = "asked in an evaluation", "near-duplicates"


def run(settings: Settings, workdir_path: str | Path) -> None:
    """Reads, compares and writes as the settings say, in `workdir_path`.

    Raises:
        RunError: no problem is left.
    """
    check_clean(settings)
    data, config = settings.data, settings.to_config().to_dict()
    problems = take_problems(sources.load(data.name, data.split, data.dir, settings.seed), data.problems)
    evaluations = _read_evaluations(settings)
    workdir = find_workdir(workdir_path, config)
    hosts.wait("clean: looked at")
    if hosts.is_first():
        make_workdir(workdir, config)
    kept, removed, counts = clean(problems, evaluations, settings.cleaning)
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    if hosts.is_first():
        for name, rows in ((KEPT, kept), (REMOVED, removed)):
            write_atomic(workdir.path / name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        write_atomic(workdir.path / COUNTS, json.dumps(counts, indent=2) + "\n")
        print(f"cleaned {data.name}: {told}", flush=True)
    hosts.wait("clean: written")
    if not kept:
        raise RunError(f"{workdir.path}: no problem is left: {told}; expected other problems, or other config.cleaning")


def _read_evaluations(settings: Settings) -> list[tuple[str, str, str]]:
    """(data set, id, text) of all that is asked."""
    wanted = settings.cleaning
    names = sources.split_name(wanted.evaluations) if wanted.evaluations else []
    dir, shown = settings.data.dir, hosts.is_first()
    return [(name, *row) for name in names for row in read_texts(name, wanted.split, dir, 0, KEYS, shown)]


def clean(
    problems: Sequence[dict], evaluations: Sequence[tuple[str, str, str]], wanted: Cleaning
) -> tuple[list[dict], list[dict], dict[str, int]]:
    """The problems that stay; those that do not, as `id`, `problem`, `reason`, and what they repeat; and how many there
    were of each, in order.

    Args:
        problems: in the order in which the first of a cluster is kept.
        evaluations: (data set, id, text).
        wanted: what is compared.
    """
    removed: dict[int, dict[str, Any]] = {}
    counts = {"problems": len(problems)}
    if evaluations:
        evaluated = Evaluated([text for _, _, text in evaluations], wanted.overlap_words, wanted.share, wanted.within)
        with late_progress("compare with evaluations", len(problems), enabled=hosts.is_first()) as advance:
            for index, problem in enumerate(problems):
                found = evaluated.find(problem["problem"])
                if found:
                    name, id, _ = evaluations[found[0].of]
                    why = {"of": id, "evaluation": name, "share": round(found[0].share, 4)}
                    removed[index] = {"reason": OVERLAPS, **why}
                advance(1)
        counts[OVERLAPS] = len(removed)
    if wanted.similarity:
        left = [index for index in range(len(problems)) if index not in removed]
        texts = [problems[index]["problem"] for index in left]
        with late_progress("compare with each other", len(left), enabled=hosts.is_first()) as advance:
            repeats = near_duplicates(texts, wanted.similarity, wanted.words, advance)
        for one in repeats:
            why = {"of": problems[left[one.of]]["id"], "similarity": round(one.similarity, 4)}
            removed[left[one.index]] = {"reason": REPEATS, **why}
        counts[REPEATS] = len(repeats)
    kept = [problem for index, problem in enumerate(problems) if index not in removed]
    counts["kept"] = len(kept)
    rows = [{key: problems[index][key] for key in ("id", "problem")} | removed[index] for index in sorted(removed)]
    return kept, rows, counts
