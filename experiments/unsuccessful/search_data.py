"""Training data made by tree search, round after round, against rejection sampling with as many sampled tokens.

DeepSeek-R1 (arXiv 2501.12948, unsuccessful attempts): answers are found by Monte Carlo tree search guided by a value
model, the pairs of question and answer train the policy and the value model, and so on. Here a round is

    train a process reward model on samples of the policy               (value model)
    search new training questions with policy and value model           (`rl_reason.evaluate --search=tree`)
    fine-tune the policy on the best paths that end right

and of the other arm: sample so many completions of the same questions that as many tokens are drawn, fine-tune on those
that are right and differ. What the value model is trained on is not counted, in favour of the search.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from experiments.unsuccessful.commands import evaluate, train
from rl_reason.data import sources
from rl_reason.data.selection import fingerprint
from rl_reason.errors import RunError
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.workdir import Workdir, write_atomic

BASE, DATA = "checkpoints/tiny", "word_problems"
ARMS = {"search": "tree search", "sampling": "rejection sampling"}
TREE = {"search": "tree", "simulations": 32, "expansions": 8}
ASKED = {
    "data": DATA, "split": "train", "template": "question", "grader": "marked_number", "temperature": 1.0,
    "max_tokens": 80,
}  # fmt: skip
JUDGED = {
    "data.problems": "500", "steps": "80", "sampling.temperature": "1.0", "evaluation.samples": "0",
    "evaluation.every": "0",
}  # fmt: skip
"""How the reward model of a round is trained, as in `configs/o1_math.py:tiny`: one that has learned from a quarter as
much gives all beginnings about the same probability, and a search that it guides finds the shortest path."""
KEEP = 4
"""Right completions of a question, at most, that differ, as in `configs/rft_math.py`; a search gives one."""
TUNE = {
    "data.problems": "0", "data.solutions": "((0,(('original',1.0),)),)", "steps": "20", "algorithm.batch_size": "24",
    "evaluation.name": DATA, "evaluation.problems": "200", "evaluation.samples": "4", "evaluation.every": "0",
}  # fmt: skip
"""About three epochs of 300 solutions."""


def run_round(folder: Path, seed: int, number: int, questions: int) -> None:
    """Round `number`, from 1 on, of both arms. The questions of each seed and round are others."""
    asked = ASKED | {"problems": questions, "seed": _questions_seed(seed, number)}
    policy, judge = _policy(folder, "search", number), folder / f"judge-{number}"
    train("prm_math", judge, JUDGED | {"reward_model.policy": policy, "seed": str(seed)})
    evaluate(folder / f"search-{number}-found", asked | TREE | {"model": policy, "reward_model": str(judge / "export")})
    _tune(folder, "search", seed, number)
    policy = _policy(folder, "sampling", number)
    samples = max(round(_spent(folder / f"search-{number}-found") / questions / _length(folder, number)), 1)
    evaluate(folder / f"sampling-{number}-found", asked | {"model": policy, "samples": samples})
    _tune(folder, "sampling", seed, number)


def read(folder: Path, rounds: int) -> dict[str, list[dict]]:
    """Of each arm the accuracy before, and after each round with what was sampled for it."""
    made: dict[str, list[dict]] = {}
    for arm in ARMS:
        before, _ = _evaluations(folder, arm, 1)
        made[arm] = [{"round": 0, "pass@1": before["pass@1"], "pass@1_ci95": before["pass@1_ci95"]}]
        for number in range(1, rounds + 1):
            found, (_, after) = folder / f"{arm}-{number}-found", _evaluations(folder, arm, number)
            results = json.loads((found / "results.json").read_text())
            row = {"round": number, "pass@1": after["pass@1"], "pass@1_ci95": after["pass@1_ci95"]}
            row |= {"tokens_sampled": _spent(found), "samples": results["samples"], "found_right": results["pass@1"]}
            made[arm].append(row | {"learned_from": len(list(read_jsonl(found / "selected.jsonl")))})
    return made


def select(records: Iterable[dict], problems: Iterable[dict]) -> list[dict]:
    """Problems with a completion as their `solution`: of each the right ones that end and differ, at most `KEEP`.

    Args:
        records: rows of the samples.jsonl of `rl_reason.evaluate`, which have no `problem`.
        problems: those that were asked.
    """
    of_question: dict[str, dict[tuple, str]] = defaultdict(dict)
    for record in records:
        if record["correct"] and record["finish"] == "stop":
            of_question[record["id"]].setdefault(fingerprint(record["completion"]), record["completion"])
    return [
        {"id": f"{problem['id']}/{i}", "problem": problem["problem"], "answer": problem["answer"], "solution": text}
        for problem in problems
        for i, text in enumerate(list(of_question[problem["id"]].values())[:KEEP])
    ]


def _tune(folder: Path, arm: str, seed: int, number: int) -> None:
    found = folder / f"{arm}-{number}-found"
    count = json.loads((found / "results.json").read_text())["n"]
    problems = sources.load(DATA, "train", "", _questions_seed(seed, number))[:count]
    selected = select(read_jsonl(found / "samples.jsonl"), problems)
    if not selected:
        raise RunError(f"{found}: none of the completions is right and ends; expected some to learn from")
    file = found / "selected.jsonl"
    write_atomic(file, "".join(json.dumps(row) + "\n" for row in selected))
    changes = {"model.path": _policy(folder, arm, number), "data.name": str(file), "seed": str(seed)}
    train("sft_math", folder / f"{arm}-{number}", TUNE | changes)


def _policy(folder: Path, arm: str, number: int) -> str:
    """The one that a round begins with."""
    return BASE if number == 1 else str(folder / f"{arm}-{number - 1}" / "export")


def _questions_seed(seed: int, number: int) -> int:
    """The training split has other problems for each seed; those from 0 on are the reward models'."""
    return 1000 * (seed + 1) + number


def _spent(found: Path) -> float:
    """Tokens that were drawn for all questions, each by itself where samples are equal."""
    results = json.loads((found / "results.json").read_text())
    each = results.get("tokens/spent", results["tokens/completion"] * results["samples"])
    return each * results["n"]


def _length(folder: Path, number: int) -> float:
    """Tokens of a completion of the sampled arm's policy as the round begins, on held-out problems."""
    at_start = _evaluations(folder, "search", 1)[0] if number == 1 else _evaluations(folder, "sampling", number - 1)[1]
    return at_start["tokens/completion"]


def _evaluations(folder: Path, arm: str, number: int) -> tuple[dict, dict]:
    """Before and after the fine-tuning of a round."""
    if not (folder / f"{arm}-{number}" / "export").exists():
        raise RunError(f"{folder / f'{arm}-{number}'}: is missing; run this command without --draw")
    records = list(read_jsonl(Workdir(folder / f"{arm}-{number}").eval))
    return records[0], records[-1]
