"""Statements of geometry that are proved with auxiliary constructions of a language model, as `rl_reason.prove` asks:

prove each statement by the engine alone               (geometry.provers)
for those without a proof, some at a time:
    search for clauses with which there is one         (geometry.auxiliary, proposing)
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl_reason.data import sources
from rl_reason.data.iterators import EncodedPrompt
from rl_reason.data.templates import stops_of
from rl_reason.errors import UsageError
from rl_reason.geometry.auxiliary import Prove, Search, search
from rl_reason.geometry.engine import PACKAGES, Result, check_package
from rl_reason.geometry.provers import Provers, Told
from rl_reason.geometry.statements import Clause, Statement, StatementError, parse_statement
from rl_reason.parallel import hosts
from rl_reason.recipes.evaluation import questions_at_once
from rl_reason.recipes.proof_folder import ProofFolder, file_name
from rl_reason.recipes.proposing import make_propose
from rl_reason.recipes.setup import Model, describe_asked, take_problems
from rl_reason.rewards.estimators import wilson_interval
from rl_reason.runtime.flags import HOSTS
from rl_reason.runtime.progress import Progress
from rl_reason.sampling import logits

FREE = ("output", "workers", "batch", *HOSTS)
"""Flags that results do not depend on."""
RESULTS, ALONE = "results.jsonl", "alone.jsonl"
"""A record for each problem that is done; what the engine alone makes of those that are left to be searched."""


@dataclass(frozen=True)
class _Task:
    """What is to be proved: read, encoded and found right. Problems are known by their places."""

    problems: Sequence[dict]
    statements: Sequence[Statement]
    prompts: Sequence[EncodedPrompt]
    stops: Callable[[Mapping], tuple[str, ...]]
    model: Model
    flags: Mapping[str, Any]
    identity: dict[str, Any]
    """What a folder that holds results is compared by."""

    def place(self, number: int) -> str:
        return file_name(self.problems[number]["id"])


def prove(flags: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict]] | None:
    """Proves what the folder does not hold yet, and writes results, proofs and figures there.

    Args:
        flags: of `rl_reason.prove`.

    Returns:
        On the first host what stands in results.json, and the records of all problems.

    Raises:
        UsageError: wrong flags, a row that is no statement, or a folder that holds something else.
        RunError: the model gives what is no number.
    """
    task = _prepare(flags)
    folder = _open_folder(task)
    kept = hosts.gather([folder.records(RESULTS), folder.records(ALONE)] if folder else None)[0]
    done, alone = ({record["id"]: record for record in records} for records in kept)
    run = _Run(task, folder, done, alone)
    with (
        Progress(len(task.problems), len(run.records), "prove", enabled=folder is not None) as run.progress,
        Provers(flags["workers"], flags["memory"]) as provers,
    ):
        run.prove_alone(provers)
        run.search(provers)
    if folder is None:
        return None
    records = [run.records[problem["id"]] for problem in task.problems]
    results = {**task.identity, **summarize(records, flags["depth"])}
    folder.finish(results)
    return results, records


def summarize(records: Sequence[Mapping[str, Any]], depth: int) -> dict[str, Any]:
    """What problems come to: `n`; `solved`, for each depth how many were proved with at most so many clauses, their
    `share` and its 95% interval (Wilson's: at few problems that of a share of 0 is no point); `unsolved`, of each the
    cause: what the engine alone says of it."""
    n, solved = len(records), []
    for level in range(depth + 1):
        count = sum(record["result"] == "solved" and record["depth"] <= level for record in records)
        interval = wilson_interval(count, n)
        solved.append({"depth": level, "solved": count, "share": count / n, "share_ci95": list(interval)})
    unsolved = {record["id"]: record["result"] for record in records if record["result"] != "solved"}
    return {"n": n, "solved": solved, "unsolved": unsolved}


def make_prove(provers: Provers, seconds: float, told: Told) -> Prove:
    """What has the engine prove statements: each host its share of them, so many seconds each at most."""

    def prove(families: Sequence[Sequence[Statement]]) -> list[list[Result]]:
        flat = [(family, str(statement)) for family, statements in enumerate(families) for statement in statements]
        mine: dict[int, list[str]] = {}
        for family, text in flat[hosts.share(len(flat))]:
            mine.setdefault(family, []).append(text)
        made = [list(map(dataclasses.asdict, results)) for results in provers.prove([*mine.values()], seconds, told)]
        results: list[list[Result]] = [[] for _ in families]
        for of_host in hosts.gather([list(pair) for pair in zip(mine, made, strict=True)]):
            for family, rows in of_host:
                if not results[family] or results[family][-1].result != "solved":
                    results[family] += [Result(**row) for row in rows]
        return results

    return prove


@dataclass
class _Run:
    """What is known of the problems: the same on every host, in the end of each part."""

    task: _Task
    folder: ProofFolder | None
    records: dict[str, dict]
    """Of those that are done, by id."""
    alone: dict[str, dict]
    """What the engine alone makes of others."""
    progress: Progress = dataclasses.field(init=False)
    statements: int = 0
    """That the engine was asked on this host."""

    def prove_alone(self, provers: Provers) -> None:
        """Has each statement proved as it is; its record is kept when it comes."""
        todo = [n for n, problem in enumerate(self.task.problems) if not self._is_known(problem["id"])]
        begun = {
            provers.submit(str(self.task.statements[number]), self.task.flags["time_limit"]): number
            for number in todo[hosts.share(len(todo))]
        }
        made = {}
        for future in as_completed(begun):
            made[begun[future]] = future.result()
            self._told(1)
            self._keep_alone(begun[future], future.result())
        for part in hosts.gather([[number, dataclasses.asdict(result)] for number, result in made.items()]):
            for number, row in part:
                if not self._is_known(self.task.problems[number]["id"]):
                    self._keep_alone(number, Result(**row))

    def search(self, provers: Provers) -> None:
        """Searches for what the rest needs, some problems at a time."""
        task, flags = self.task, self.task.flags
        todo = [n for n, problem in enumerate(task.problems) if problem["id"] not in self.records]
        if not todo:
            return
        propose = make_propose(
            task.model,
            task.model.load_params(flags["seed"], task.model.dtype),
            task.prompts,
            lambda number: task.stops(task.problems[number]),
            samples=flags["samples"],
            temperature=flags["temperature"],
            top_p=flags["top_p"],
            max_length=flags["max_tokens"],
            rows=flags["batch"],
            seed=flags["seed"],
        )
        prove = make_prove(provers, flags["time_limit"], self._told)
        at_once = questions_at_once(flags["batch"], flags["samples"], len(todo))
        for start in range(0, len(todo), at_once):
            statements = {number: task.statements[number] for number in todo[start : start + at_once]}
            for number, found in search(statements, propose, prove, beam=flags["beam"], depth=flags["depth"]):
                self._keep_search(number, found)

    def _is_known(self, id: str) -> bool:
        return id in self.records or id in self.alone

    def _keep_alone(self, number: int, result: Result) -> None:
        told = {"result": result.result, "seconds": round(result.seconds, 3), "message": result.message}
        if result.result not in ("solved", "cannot be constructed"):
            id = self.task.problems[number]["id"]
            self.alone[id] = {"id": id, **told}
            if self.folder:
                self.folder.add(ALONE, self.alone[id])
            return
        self._keep(number, result, (), {"depth": 0, **told})

    def _keep_search(self, number: int, found: Search) -> None:
        alone = self.alone[self.task.problems[number]["id"]]
        node, result = found.proof or (None, None)
        told = {
            "result": "solved" if node else alone["result"],
            "depth": found.depth,
            "auxiliary": list(map(str, node.clauses)) if node else [],
            "logprob": round(node.logprob, 4) if node else None,
            "nodes": 1 + found.results.total(),
            "results": dict(found.results),
            "proposals": dict(found.proposals),
            "seconds": round(alone["seconds"] + found.seconds, 3),
            "message": "" if node else alone["message"],
        }
        self._keep(number, result, node.clauses if node else (), told)

    def _keep(self, number: int, proved: Result | None, added: Sequence[Clause], told: dict[str, Any]) -> None:
        """The record of a problem that is done; its proof and figure are written before."""
        problem = self.task.problems[number]
        record = {"id": problem["id"], "problem": str(self.task.statements[number]), "result": "", "depth": 0}
        record |= {"auxiliary": [], "logprob": None, "nodes": 1, "results": {}, "proposals": {}, **told}
        if self.folder:
            if proved and proved.proof:
                self.folder.save(self.task.place(number), self.task.statements[number], proved, added)
            self.folder.add(RESULTS, record)
        self.records[problem["id"]] = record
        self._told(0)

    def _told(self, count: int) -> None:
        self.statements += count
        solved = sum(record["result"] == "solved" for record in self.records.values())
        self.progress.update(len(self.records), {"solved": solved, "statements": self.statements})


def _prepare(flags: Mapping[str, Any]) -> _Task:
    check_package("rl_reason.prove")
    logits.check(flags["temperature"], 0, flags["top_p"], 0.0, "--")
    everything = sources.load(flags["data"], flags["split"], flags["dir"], flags["seed"])
    problems = take_problems(everything, flags["problems"])
    statements = _read(problems, flags["data"])
    model, template, prompts = describe_asked(flags, problems)
    identity = {name: value for name, value in flags.items() if name not in FREE}
    identity["engine"] = ", ".join(f"{package} {version}" for package, version in PACKAGES.items())
    rows = json.dumps([[problem["id"], str(one)] for problem, one in zip(problems, statements, strict=True)])
    identity["data_sha256"] = hashlib.sha256(rows.encode()).hexdigest()
    identity["model_sha256"] = model.fingerprint()
    return _Task(problems, statements, prompts, lambda problem: stops_of(template, problem), model, flags, identity)


def _read(problems: Sequence[Mapping], data: str) -> list[Statement]:
    """Their statements; an error that names the first row that is none, and says how many there are."""
    statements, wrong = [], []
    ids: dict[str, str] = {}
    for problem in problems:
        name = file_name(problem["id"])
        if name in ids:
            raise UsageError(
                f"--data={data}: {ids[name]!r} and {problem['id']!r} are two problems; expected names that differ"
            )
        ids[name] = problem["id"]
        try:
            statements.append(parse_statement(problem["problem"]))
        except StatementError as error:
            wrong.append((problem, error))
    if wrong:
        problem, told = wrong[0]
        more = f"; {len(wrong) - 1} more like it" if len(wrong) > 1 else ""
        raise UsageError(f"--data={data}{sources.place_of(data, problem)}: problem {problem['id']!r}: {told}{more}")
    return statements


def _open_folder(task: _Task) -> ProofFolder | None:
    """The folder, on the first host; what is wrong with it is told by all of them."""
    folder, told = None, ""
    if hosts.is_first():
        try:
            folder = ProofFolder(Path(task.flags["output"]), task.identity)
        except UsageError as error:
            told = str(error)
    if told := hosts.gather(told)[0]:
        raise UsageError(told)
    return folder
