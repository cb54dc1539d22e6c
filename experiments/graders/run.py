"""What the graders say of public reference solutions, of answers swapped between problems, and of labelled answers.

    python -m experiments.graders.run --dir=DATA                 # a minute; writes OUTPUT/results.json
    python -m experiments.graders.run --dir=DATA --speed         # gradings a second too, and speed.png

DATA has `math/` with `gsm8k_train.jsonl`, `math_train.jsonl`, …, rows of `id`, `problem`, `answer` and, where there is
one, `solution`; and `prm/prm800k_phase1_test_steps.jsonl`.
"""

from __future__ import annotations

import importlib.metadata
import json
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rl_reason.errors import UsageError, run_command
from rl_reason.rewards import REWARDS
from rl_reason.rewards.combination import Graded, Rewarder
from rl_reason.rewards.extraction import final_answer
from rl_reason.rewards.numeric import parse_number
from rl_reason.runtime.curves import COLORS
from rl_reason.runtime.flags import REQUIRED, Spec, parse_flags
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.progress import Progress, table
from rl_reason.runtime.workdir import write_atomic
from rl_reason.settings import Reward

FLAGS: Spec = {
    "dir": (str, REQUIRED, "folder with math/ and prm/"),
    "output": (str, "runs/graders", "folder for results.json and speed.png"),
    "speed": (bool, False, "also measure gradings a second"),
    "workers": (int, 2, "processes"),
}
NUMBERS = ("gsm8k_train", "gsm8k_test", "svamp", "aime24", "aime25", "amc23")
SETS = {name: ("math", "number") for name in NUMBERS} | {"math_train": ("math",), "math500": ("math",)}
"""Data set → graders."""
SEEDS = (0, 1, 2)
CHOICES = ("mmlu_stem", "choice")
FORMS: dict[str, Callable[[str, str], str]] = {
    "letter": lambda letter, text: f"The answer is {letter}",
    "brackets": lambda letter, text: f"\\boxed{{\\text{{({letter})}}}}",
    "with text": lambda letter, text: f"<answer>{letter}. {text}</answer>",
    "text": lambda letter, text: f"<answer>{text}</answer>",
}
"""How a choice is named."""
LABELLED = "prm800k_phase1_test_steps"
BATCH = 1024
"""Completions of a step of DeepSeekMath's GRPO."""


def read(folder: Path, name: str) -> list[dict]:
    file = folder / f"{name}.jsonl"
    if not file.is_file():
        raise UsageError(f"--dir={folder.parent}: {file.relative_to(folder.parent)} is not there")
    return list(read_jsonl(file))


def solution(row: dict) -> str:
    """What is graded: the reference solution; in a box the answer of a row without one."""
    return row.get("solution") or f"\\boxed{{{row['answer']}}}"


def derangement(count: int, seed: int) -> list[int]:
    """A permutation of `count` that leaves none in its place: one cycle through all."""
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return [to for _, to in sorted(zip(order, [*order[1:], order[0]], strict=True))]


def are_equal(a: str, b: str) -> bool:
    """Whether two answers are the same text, or the same number."""
    x, y = parse_number(a), parse_number(b)
    return a.split() == b.split() or (x is not None and x == y)


def grade(grader: str, texts: Sequence[str], problems: Sequence[dict], title: str, workers: int) -> Graded:
    with Rewarder(Reward(names=(grader,), timeout=10.0, workers=workers)) as rewarder:
        with Progress(len(texts), title=title) as progress:
            return rewarder.grade(texts, problems, progress.advance)


def reflexive(grader: str, name: str, rows: list[dict], workers: int) -> dict:
    """Each solution against its own answer. A solution that marks no answer says nothing: it is counted, and its answer
    graded in a box."""
    unmarked = [row["id"] for row in rows if final_answer(solution(row)) is None]
    texts = [solution({**row, "solution": ""} if row["id"] in unmarked else row) for row in rows]
    graded = grade(grader, texts, rows, f"{name}, {grader}", workers)
    return {"n": len(rows), "unmarked": unmarked, "not correct": _others(graded, rows, "correct")}


def swapped(grader: str, name: str, rows: list[dict], workers: int) -> dict:
    """Each solution against the answer of another problem, for each seed; pairs with equal answers left out."""
    made, texts, problems, pairs = {"n": 0, "equal": 0}, [], [], []
    for seed in SEEDS:
        for row, to in zip(rows, derangement(len(rows), seed), strict=True):
            if are_equal(row["answer"], rows[to]["answer"]):
                made["equal"] += 1
                continue
            texts.append(solution(row))
            problems.append({**rows[to], "id": f"{row['id']} for {rows[to]['id']}"})
            pairs.append((row["answer"], rows[to]["answer"]))
    graded = grade(grader, texts, problems, f"{name} swapped, {grader}", workers)
    wrong = [
        {"id": problem["id"], "answers": pair, "verdict": verdict}
        for problem, pair, verdict in zip(problems, pairs, graded.verdicts, strict=True)
        if verdict == "correct" or verdict in ("timeout", "crash")
    ]
    return made | {"n": len(texts), "not wrong": wrong}


def _others(graded: Graded, rows: Sequence[dict], expected: str) -> list[dict]:
    messages = {failure["index"]: failure["message"] for failure in graded.failures}
    return [
        {"id": row["id"], "answer": row["answer"], "extracted": extracted, "verdict": verdict}
        | ({"message": messages[index]} if index in messages else {})
        for index, (row, verdict, extracted) in enumerate(zip(rows, graded.verdicts, graded.extracted, strict=True))
        if verdict != expected
    ]


def choices(rows: list[dict], workers: int) -> dict:
    """The right choice and the one behind it, named in each of `FORMS`."""
    made: dict[str, dict] = {}
    for form, write in FORMS.items():
        for expected, step in (("correct", 0), ("wrong", 1)):
            named = [(ord(row["answer"]) - ord("A") + step) % len(row["choices"]) for row in rows]
            texts = [write(chr(ord("A") + i), row["choices"][i]) for row, i in zip(rows, named, strict=True)]
            graded = grade("choice", texts, rows, f"{form}, {expected}", workers)
            made[f"{form}, {expected}"] = {"n": len(rows), "others": _others(graded, rows, expected)}
    return made


def labelled(steps: list[dict], problems: list[dict], workers: int) -> dict:
    """PRM800K's final steps: a step that states an answer, rated right (1) or wrong (−1) by people. Where raters of one
    answer disagree it is left out."""
    golds = {row["problem"]: row["answer"] for row in problems}
    ratings: dict[tuple[str, str], set[int]] = {}
    for step in steps:
        if step["answer"] and step["rating"] in (1, -1) and step["problem"] in golds:
            ratings.setdefault((step["problem"], step["answer"]), set()).add(step["rating"])
    agreed = [(problem, answer, rating.pop()) for (problem, answer), rating in ratings.items() if len(rating) == 1]
    rows = [{"id": problem, "problem": problem, "answer": golds[problem]} for problem, _, _ in agreed]
    graded = grade("math", [f"\\boxed{{{answer}}}" for _, answer, _ in agreed], rows, "PRM800K, math", workers)
    disagreements = [
        {"problem": problem[:80], "gold": golds[problem], "stated": answer, "rating": rating, "verdict": verdict}
        for (problem, answer, rating), verdict in zip(agreed, graded.verdicts, strict=True)
        if (verdict == "correct") != (rating == 1)
    ]
    right = sum(rating == 1 for _, _, rating in agreed)
    left_out = len(ratings) - len(agreed)
    return {"n": len(agreed), "rated right": right, "raters disagree": left_out, "disagreements": disagreements}


def speed(rows: dict[str, list[dict]], seconds: float = 2.0) -> dict[str, float]:
    """Gradings a second of one core, by CPU time of this process; of the pool, by the clock, with one worker."""
    math, gsm = rows["math500"] + rows["math_train"], rows["gsm8k_test"]
    box = lambda row: f"so the answer is \\boxed{{{row['answer']}}}"  # noqa: E731
    plain = [row for row in math if parse_number(row["answer"]) is not None]
    others = [row for row in math if parse_number(row["answer"]) is None][:400]
    shift = lambda some: [*some[1:], some[0]]  # noqa: E731
    cases = {
        "number, GSM8K's solutions": ("number", [(row["solution"], row) for row in gsm]),
        "math, GSM8K's solutions": ("math", [(row["solution"], row) for row in gsm]),
        "math, numbers of MATH, right": ("math", [(box(row), row) for row in plain]),
        "math, numbers of MATH, swapped": ("math", [(box(a), b) for a, b in zip(plain, shift(plain), strict=True)]),
        "math, other answers, as the gold one": ("math", [(box(row), row) for row in others]),
        "math, other answers, swapped": ("math", [(box(a), b) for a, b in zip(others, shift(others), strict=True)]),
    }
    made = {}
    REWARDS["math"].prepare()  # type: ignore[attr-defined]
    with Progress(len(cases) + 1, title="speed") as progress:
        for name, (grader, pairs) in cases.items():
            function, count, began = REWARDS[grader], 0, time.process_time()
            while time.process_time() - began < seconds:
                function(*pairs[count % len(pairs)])
                count += 1
            made[name] = count / (time.process_time() - began)
            progress.advance(1)
        with Rewarder(Reward(names=("math",), workers=1)) as rewarder:
            texts, problems = zip(*cases["math, GSM8K's solutions"][1], strict=True)
            rewarder.grade(texts[:10], problems[:10])
            began = time.monotonic()
            rewarder.grade(texts, problems)
            made["math, GSM8K's solutions, a pool of one"] = len(texts) / (time.monotonic() - began)
        progress.advance(1)
    return made


def draw(made: dict[str, float], file: Path) -> None:
    """A bar for each kind of answer, and the line at which a batch of DeepSeekMath takes half a second."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    bars = axes.barh(list(made)[::-1], list(made.values())[::-1], color=COLORS[5])
    axes.bar_label(bars, [f" {value:,.0f}" for value in list(made.values())[::-1]])
    axes.axvline(2 * BATCH, color=COLORS[6], linestyle=":", label=f"a batch of {BATCH:,} in half a second")
    figure.legend(loc="outside upper right", frameon=False)
    axes.set_xscale("log")
    axes.set_xlim(right=3 * max(made.values()))
    axes.set_xlabel("gradings a second and core")
    figure.savefig(file, dpi=120)


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    folder, output, workers = Path(flags["dir"]).expanduser() / "math", Path(flags["output"]), flags["workers"]
    rows = {name: read(folder, name) for name in (*SETS, CHOICES[0])}
    steps = read(folder.parent / "prm", LABELLED)
    output.mkdir(parents=True, exist_ok=True)
    versions = {name: importlib.metadata.version(name) for name in ("math-verify", "sympy")}
    results: dict = {"versions": versions, "seeds": SEEDS, "reflexive": {}, "swapped": {}}
    for name, graders in SETS.items():
        for grader in graders:
            key = f"{name}, {grader}"
            results["reflexive"][key] = reflexive(grader, name, rows[name], workers)
            results["swapped"][key] = swapped(grader, name, rows[name], workers)
    results["choice"] = choices(rows[CHOICES[0]], workers)
    results["labelled"] = labelled(steps, rows["math500"], workers)
    write_atomic(output / "results.json", json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    if flags["speed"]:
        results["speed"] = speed(rows)
        write_atomic(output / "results.json", json.dumps(results, indent=1, ensure_ascii=False) + "\n")
        draw(results["speed"], output / "speed.png")
    show(results)
    print(f"Written to {output}")


def show(results: Mapping) -> None:
    lines = []
    for key, own in results["reflexive"].items():
        other, correct = results["swapped"][key], own["n"] - len(own["not correct"])
        lines.append([*key.split(", "), own["n"], correct, len(own["unmarked"])])
        lines[-1] += [other["n"], other["equal"], len(other["not wrong"])]
    columns = ["data", "grader", "rows", "own answer: correct", "no answer marked"]
    columns += ["swapped pairs", "left out", "of these not wrong"]
    table("Reference solutions", columns, lines)
    forms = [[form, one["n"], len(one["others"])] for form, one in results["choice"].items()]
    table("mmlu_stem, choice", ["named by", "rows", "others"], forms)
    one = results["labelled"]
    agreed = [one["n"], one["rated right"], one["n"] - len(one["disagreements"])]
    table("PRM800K's stated answers, math", ["rated", "as right", "same verdict"], [agreed])
    if "speed" in results:
        table("Gradings a second and core", ["", ""], [[k, f"{v:,.0f}"] for k, v in results["speed"].items()])


if __name__ == "__main__":
    run_command(main)
