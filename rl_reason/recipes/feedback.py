"""Which of two completions is better, by a model's opinion: preferences without people (RLAIF, arXiv 2212.08073,
section 4).

    of each question pair up its completions            (data.feedback; a folder of samples has them)
    for each batch of pairs:
        ask which is better, by a drawn principle, in both orders      (letters)
        the share of either is the mean over both orders
        append it to judged.jsonl
    write what was judged as pairs with soft labels     (preferences.jsonl)

`feedback.json` says what was judged by what, how many pairs could not be and why, and how often the judge agrees with
the rule that has scored the completions. A preference model learns from the pairs (`recipes.reward_model`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rl_reason.data.constitution import read_constitution
from rl_reason.data.feedback import ORDERS, Pair, make_pairs, preference
from rl_reason.data.generated import read_shards
from rl_reason.errors import Preempted, UsageError
from rl_reason.parallel import hosts
from rl_reason.parallel.preemption import Preemption
from rl_reason.recipes.checks.feedback import check_feedback
from rl_reason.recipes.letters import Judge, LocalJudge, ServerJudge
from rl_reason.recipes.record_files import append, lines, read_kept
from rl_reason.rewards.estimators import mean_interval
from rl_reason.runtime.progress import Progress, table
from rl_reason.runtime.workdir import Workdir, find_workdir, make_workdir, write_atomic
from rl_reason.settings import Settings

OUTPUT, JUDGED, SUMMARY = "preferences.jsonl", "judged.jsonl", "feedback.json"
STOPPED = "SIGTERM: whole batches are kept; the same command goes on there"
OF_PAIR = ("id", "problem", "chosen", "rejected", "share")


def run(settings: Settings, workdir_path: str | Path) -> None:
    """Judges as the settings say, into `workdir_path`; goes on with what is there.

    Raises:
        UsageError: wrong settings, a folder of something else, or a judge that judges no pair.
        RunError: the server broke down; what came before is kept.
    """
    check_feedback(settings)
    pairs, unpaired = _pairs(settings)
    questions = [
        {"id": f"{pair.id}/{order}", "problem": asked[0], "turns": asked}
        for pair in pairs
        for order in ORDERS
        for asked in [pair.turns(order, settings.feedback.reasoning)]
    ]
    judge: Judge = (ServerJudge if settings.endpoint.url else LocalJudge)(settings, questions)
    with contextlib.closing(judge):
        told = judge.identity | {
            "constitution_sha256": _digest([dataclasses.asdict(pair.principle) for pair in pairs]),
            "questions_sha256": _digest(questions),
        }
        workdir, before = _open(settings, workdir_path, told)
        rows = _judge_all(settings, pairs, judge, workdir, told, before)
    summary = {"finished": True, **told, "asked": dict(before + judge.asked), **summarize(rows, unpaired)}
    if hosts.is_first():
        write_atomic(workdir.path / SUMMARY, json.dumps(summary, indent=2) + "\n")
        _show(summary, rows, workdir)
    judged = [{key: row[key] for key in OF_PAIR} for row in rows if "failure" not in row]
    if not judged:
        first = rows[0]["failure"]["message"]
        raise UsageError(f"{workdir.path / JUDGED}, line 1: {first}; none of {len(rows)} pairs could be judged")
    if hosts.is_first():
        write_atomic(workdir.path / OUTPUT, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in judged))
    hosts.wait("feedback: written")


def _pairs(settings: Settings) -> tuple[list[Pair], int]:
    """The pairs of the first `data.problems` questions."""
    name, wanted = settings.data.name, settings.data.problems
    records = list(read_shards(name))
    kept = set(list(dict.fromkeys(record["id"] for record in records))[: wanted or None])
    records = [record for record in records if record["id"] in kept]
    principles = read_constitution(Path(settings.constitution.file).expanduser())
    return make_pairs(records, settings.feedback.pairs, principles, settings.seed, name)


def _open(settings: Settings, path: str | Path, asked: dict[str, Any]) -> tuple[Workdir, Counter[str]]:
    """The run's folder, and what was asked of a server by commands that were stopped; what is wrong with the folder is
    told by all hosts."""
    config, told, before = settings.to_config().to_dict(), "", {}
    try:
        workdir = find_workdir(path, config)
        if (file := workdir.path / SUMMARY).is_file():
            there = json.loads(file.read_text())
            before = there["asked"]
            if changed := [key for key, value in asked.items() if there.get(key) != value]:
                raise UsageError(
                    f"--workdir={path}: holds judgements that differ by {', '.join(changed)}; expected the same, or "
                    "another folder"
                )
    except UsageError as error:
        told = str(error)
    if told := next(filter(None, hosts.gather(told)), ""):
        raise UsageError(told)
    if hosts.is_first():
        make_workdir(workdir, config)
    return workdir, Counter(before)


def _judge_all(
    settings: Settings, pairs: Sequence[Pair], judge: Judge, workdir: Workdir, told: dict[str, Any], before: Counter
) -> list[dict]:
    """A row of each pair, in order (`data.feedback.preference`); those that are not in judged.jsonl are judged now."""
    file, at_once = workdir.path / JUDGED, max(judge.at_once // len(ORDERS), 1)
    rows = read_kept(file, [pair.id for pair in pairs], at_once)
    hosts.wait("feedback: read")
    if len(rows) == len(pairs):
        return rows
    if isinstance(judge, ServerJudge):
        judge.try_out()
    if hosts.is_first():
        write_atomic(file, lines(rows))
    title = f"judge pairs of {settings.data.name}"
    show = Progress(len(pairs), len(rows), title, enabled=hosts.is_first())
    with Preemption(lambda: STOPPED) as preemption, show as progress:
        for start in range(len(rows), len(pairs), at_once):
            some = pairs[start : start + at_once]
            said = judge.answer(len(ORDERS) * start, len(ORDERS) * (start + len(some)))
            of_pairs = zip(some, zip(said[::2], said[1::2], strict=True), strict=True)
            made = [preference(pair, answers, settings.feedback.clamp) for pair, answers in of_pairs]
            for row in [row for row in made if "failure" in row][:3]:
                progress.note(f"{row['id']}: not judged: {row['failure']['message']}")
            if hosts.is_first():
                append(file, made)
                running = {"finished": False, **told, "asked": dict(before + judge.asked)}
                write_atomic(workdir.path / SUMMARY, json.dumps(running, indent=2) + "\n")
            rows += made
            progress.advance(len(made))
            if preemption.requested():
                raise Preempted(STOPPED)
    return rows


def summarize(rows: Sequence[dict], unpaired: int) -> dict[str, Any]:
    """What stands in feedback.json of all pairs: how many there are, how many completions are in none, how many pairs
    could not be judged, the mean share of the chosen ones, and `agreement` with the scores that the completions have
    of a rule, among the pairs whose scores differ, with its interval; a share of 1/2 agrees by half."""
    judged = [row for row in rows if "failure" not in row]
    differing = [row for row in judged if row["rewards"][0] != row["rewards"][1]]
    hits = np.array([0.5 if row["share"] == 0.5 else row["rewards"][0] > row["rewards"][1] for row in differing], float)
    return {
        "pairs": len(rows),
        "unpaired_completions": unpaired,
        "failures": len(rows) - len(judged),
        "share_mean": float(np.mean([row["share"] for row in judged])) if judged else None,
        "scores_differ": len(differing),
        "agreement": float(hits.mean()) if differing else None,
        "agreement_ci95": list(mean_interval(hits)) if differing else None,
    }


def _digest(values: Sequence) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _show(summary: dict[str, Any], rows: Sequence[dict], workdir: Workdir) -> None:
    shown = [["pairs", str(summary["pairs"])], ["not judged", str(summary["failures"])]]
    if summary["agreement"] is not None:
        low, high = summary["agreement_ci95"]
        told = f"{summary['agreement']:.1%} [{low:.1%}, {high:.1%}] of {summary['scores_differ']}"
        shown.append(["agrees with the rule", told])
    table("preferences", ["", summary["model"]], shown)
    print(f"In {workdir.path}: {OUTPUT}, {JUDGED} (pairs that could not be judged have `failure`), {SUMMARY}")
