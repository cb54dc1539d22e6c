"""GSM8K and MATH as their authors publish them, row by row, turned into problems."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath


def gsm8k_problem(row: Mapping, split: str, index: int) -> dict:
    """A row of grade-school-math's `train.jsonl` or `test.jsonl`.

    Raises:
        ValueError: no `question`, or no "#### number" at the end of `answer`.
    """
    question, solution = row.get("question"), row.get("answer")
    if not isinstance(question, str) or not isinstance(solution, str):
        raise ValueError("expected strings `question` and `answer`")
    answer = solution.rpartition("####")[2].strip().replace(",", "") if "####" in solution else ""
    if not answer:
        raise ValueError("`answer` does not end in '#### number'")
    return {
        "id": f"gsm8k/{split}/{index:05d}",
        "problem": question,
        "answer": answer,
        "solution": solution,
        "source": f"gsm8k_{split}",
    }


def math_problem(row: Mapping, split: str, folder: str, number: str) -> dict | None:
    """The file `MATH/<split>/<folder>/<number>.json`, or None where its box is empty and so gives no answer.

    `level` is left out where the file says "Level ?".

    Raises:
        ValueError: no `problem` or `solution`.
    """
    problem, solution = row.get("problem"), row.get("solution")
    if not isinstance(problem, str) or not isinstance(solution, str):
        raise ValueError("expected strings `problem` and `solution`")
    answer = last_boxed(solution)
    if not answer or not answer.strip():
        return None
    made = {
        "id": f"math/{split}/{folder}/{number}",
        "problem": problem,
        "answer": answer,
        "solution": solution,
        "source": f"math_{split}",
        "subject": row.get("type", ""),
    }
    level = str(row.get("level", "")).removeprefix("Level ")
    if level.isdecimal():
        made["level"] = int(level)
    return made


def last_boxed(text: str) -> str | None:
    """What stands in the last `\\boxed{…}` (or `\\boxed x`, or `\\fbox{…}`) of a solution, None without one.

    Braces are balanced; escaped ones (`\\{`) are not counted. The content is not trimmed.
    """
    start, command = max((text.rfind(command), command) for command in ("\\boxed", "\\fbox"))
    if start < 0:
        return None
    rest = text[start + len(command) :]
    if not rest.startswith("{"):
        words = rest.lstrip(" ").split("$")[0].split()
        return words[0].rstrip(".") if words else None
    depth, position = 0, 0
    while position < len(rest):
        character = rest[position]
        if character == "\\":
            position += 1
        elif character in "{}":
            depth += 1 if character == "{" else -1
            if depth == 0:
                return rest[1:position]
        position += 1
    return None


def math_files(folder: Path) -> list[Path]:
    """`<subject>/<number>.json` below a split's folder, in order; none if there is no such folder."""
    return sorted(folder.glob("*/[!.]*.json"), key=math_order)


def math_order(file: PurePath) -> tuple:
    """Sorts MATH's files by subject and number."""
    return file.parent.name, not file.stem.isdecimal(), file.stem.zfill(12)
