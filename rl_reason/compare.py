"""`python -m rl_reason.compare DIR_A DIR_B`: what changed between two evaluations of the same problems.

Both folders are outputs of `rl_reason.evaluate`, of the same data and grader; model, template and sampling may differ.
The difference is pass@1 of B less that of A, problem by problem.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rl_reason.data.jsonl import read_jsonl
from rl_reason.errors import UsageError, run_command
from rl_reason.rewards.paired import Paired, compare
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.progress import table
from rl_reason.runtime.workdir import write_atomic

FLAGS: Spec = {
    "changed": (int, 10, "problems that are shown, those that changed most"),
    "json": (str, "", "a file for the figures, and the change of each problem"),
}
SAME = {"grader": "graders", "grader_version": "versions of the grader", "data_sha256": "problems"}
"""What must be equal in results.json, and what differs where it is not."""


def main() -> None:
    arguments = sys.argv[1:]
    given = list(itertools.takewhile(lambda argument: not argument.startswith("-"), arguments))[:2]
    flags = parse_flags(arguments[len(given) :], FLAGS, description=__doc__)
    folders = [Path(folder) for folder in given]
    if len(folders) < 2:
        raise UsageError("expected two folders, as in: python -m rl_reason.compare DIR_A DIR_B")
    if flags["changed"] < 0:
        raise UsageError(f"--changed={flags['changed']}: expected at least 0")
    results = [_read_results(folder) for folder in folders]
    _check_same(folders, results)
    shares = [_read_shares(folder) for folder in folders]
    if shares[0].keys() != shares[1].keys():
        raise UsageError(f"{folders[0]}, {folders[1]}: their samples.jsonl hold other ids; expected the same problems")
    ids = list(shares[0])
    made = compare(*(np.array([of_one[id] for id in ids]) for of_one in shares))
    most = sorted(range(len(ids)), key=lambda i: (-abs(made.changes_N[i]), i))
    changed = [(ids[i], shares[0][ids[i]], shares[1][ids[i]]) for i in most if made.changes_N[i]]
    _show(results, made, changed[: flags["changed"]])
    if flags["json"]:
        _write(Path(flags["json"]), results, made, ids)


def _read_results(folder: Path) -> dict[str, Any]:
    file = folder / "results.json"
    try:
        results = json.loads(file.read_bytes())
    except OSError:
        raise UsageError(f"{folder}: expected the output of rl_reason.evaluate, found no results.json") from None
    except ValueError as error:
        raise UsageError(f"{file}: expected JSON: {error}") from None
    for key in SAME:
        if not isinstance(results, dict) or key not in results:
            raise UsageError(f"{file}: no {key!r}; expected the output of rl_reason.evaluate")
    return results


def _check_same(folders: Sequence[Path], results: Sequence[Mapping[str, Any]]) -> None:
    for key, what in SAME.items():
        first, second = (of_one[key] for of_one in results)
        if first != second:
            raise UsageError(
                f"{folders[0]}, {folders[1]}: different {what}, {first!r} and {second!r}; expected the same"
            )


def _read_shares(folder: Path) -> dict[str, float]:
    """Id of a problem → the share of its samples that are right."""
    correct: dict[str, list[bool]] = {}
    for line, row in read_jsonl(folder / "samples.jsonl"):
        if "id" not in row or not isinstance(row.get("correct"), bool):
            raise UsageError(f"{folder / 'samples.jsonl'}, line {line}: expected `id` and `correct`")
        correct.setdefault(str(row["id"]), []).append(row["correct"])
    return {id: float(np.mean(of_one)) for id, of_one in correct.items()}


def _show(results: Sequence[Mapping[str, Any]], made: Paired, changed: Sequence[tuple[str, float, float]]) -> None:
    first, second = results
    low, high = made.interval
    rows = [
        ["grader", f"{first['grader']} ({first['grader_version']})"],
        ["pass@1, A", _with_interval(first)],
        ["pass@1, B", _with_interval(second)],
        ["B − A", f"{100 * made.difference:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"],
        ["better, worse, equal", f"{made.better}, {made.worse}, {len(made.changes_N) - made.better - made.worse}"],
        ["exact sign test, p" if max(_samples(results)) > 1 else "McNemar's exact test, p", f"{made.p:.3g}"],
    ]
    title = f"{first['data']}: {len(made.changes_N)} problems, A: {first['model']}, B: {second['model']}"
    table(title, ["", ""], rows)
    if changed:
        rows = [[id, f"{100 * a:.0f}%", f"{100 * b:.0f}%"] for id, a, b in changed]
        table("changed most", ["id", "A", "B"], rows)


def _with_interval(results: Mapping[str, Any]) -> str:
    low, high = results["pass@1_ci95"]
    return f"{100 * results['pass@1']:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"


def _samples(results: Sequence[Mapping[str, Any]]) -> list[int]:
    return [of_one["samples"] for of_one in results]


def _write(file: Path, results: Sequence[Mapping[str, Any]], made: Paired, ids: Sequence[str]) -> None:
    figures = {
        **{key: results[0][key] for key in SAME},
        "models": [of_one["model"] for of_one in results],
        "pass@1": [of_one["pass@1"] for of_one in results],
        "difference": made.difference,
        "difference_ci95": list(made.interval),
        "better": made.better,
        "worse": made.worse,
        "p": made.p,
        "changes": dict(zip(ids, made.changes_N.tolist(), strict=True)),
    }
    write_atomic(file, json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    run_command(main)
