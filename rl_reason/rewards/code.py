"""Programs, graded by running them on a problem's tests, in a sandbox (`runtime.sandbox`).

A problem has

- `tests`, a Python module that raises where the program is wrong, and `entry_point`, the function that it is about; or
- `cases`, a list of {"input": text, "output": text}: the program is run as a script on each input.

Where its `prompt_type` is "completion", a completion goes on where `prompt` ends, or is a whole program itself.
"""

from __future__ import annotations

import functools
import logging
import re
import time
import warnings
from collections.abc import Mapping, Sequence

from rl_reason.errors import UsageError
from rl_reason.rewards.extraction import after_thought, last_tagged
from rl_reason.rewards.verdict import UnparseableGold, Verdict, judged, unparseable
from rl_reason.runtime.sandbox.jail import Jail, Refused

LIMIT = 20.0
"""Seconds for a program on all of its tests, where the settings name no limit."""
LONGEST = 1_000_000
"""Characters of a program."""
_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})[ \t]*([^`\n]*?)\s*")

log = logging.getLogger(__name__)


def code(completion: str, problem: Mapping, limit: float = LIMIT) -> Verdict:
    """Score 1 for a program that passes all tests within `limit` seconds, else 0.

    The verdict is "unparseable" where there is no program, or it does not compile, "timeout" where the time was up, and
    "crash" where its process ended by itself.

    Raises:
        UnparseableGold: see `check_gold`; or the tests ask nothing of the program, or pass it what is no data.
    """
    return _grade(completion, problem, limit, isolated=True)


def code_unisolated(completion: str, problem: Mapping, limit: float = LIMIT) -> Verdict:
    """The same without walls: a program can read and write all files that this user can. For machines where nothing of
    worth lies, and which have no bubblewrap."""
    return _grade(completion, problem, limit, isolated=False)


def check_gold(problem: Mapping) -> None:
    """Nothing of the problem is run.

    Raises:
        UnparseableGold: its tests do not compile; there are no cases, or they are no pairs of texts; it lacks a text.
    """
    _check_form(problem)
    if "cases" in problem:
        return
    try:
        with warnings.catch_warnings(action="ignore"):
            compile(problem["tests"], "tests.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnparseableGold(problem["tests"], f"its tests do not compile: {error}") from error


def _check_form(problem: Mapping) -> None:
    if "cases" in problem:
        cases = problem["cases"]
        if not isinstance(cases, (list, tuple)) or not cases or not all(map(_is_case, cases)):
            raise UnparseableGold(f"cases={cases!r}", "expected a list of {'input': text, 'output': text}")
    needed = () if "cases" in problem else ("tests", "entry_point")
    for key in (*needed, *(["prompt"] if problem.get("prompt_type") == "completion" else [])):
        if not isinstance(problem.get(key), str) or not problem[key].strip():
            raise UnparseableGold(f"{key}={problem.get(key)!r}", "expected a text")


def program_of(completion: str) -> str | None:
    """The program in a completion; None where there is none.

    Only what follows the last `</think>` counts, and of that the inside of the last `<answer>` tags, if there are any.
    There it is the last fenced block that is marked as Python; else the last block without a mark, which need not be
    closed; else, without any block, all of the text.
    """
    thought = after_thought(completion)
    if thought is None:
        return None
    tagged = last_tagged(thought)
    text = thought if tagged is None else tagged
    blocks = _blocks(text)
    for marked in (True, False):
        found = [block for language, block in blocks if (language[:2] == "py" if marked else not language)]
        if found:
            text = found[-1]
            break
    else:
        if blocks:
            return None
    return text if text.strip() and len(text) <= LONGEST else None


def _blocks(text: str) -> list[tuple[str, str]]:
    """The fenced blocks of a text, as (mark in lower case, content)."""
    blocks: list[tuple[str, str]] = []
    lines = text.split("\n")
    opened: tuple[str, str, str] | None = None  # indent, fence, language
    start = 0
    for place, line in enumerate(lines):
        match = _FENCE.fullmatch(line)
        if match is None:
            continue
        indent, fence, language = match.groups()
        if opened is None:
            opened, start = (indent, fence, language.lower()), place + 1
        elif not language and fence.startswith(opened[1]):
            blocks.append((opened[2], _content(lines[start:place], opened[0])))
            opened = None
    if opened is not None and not opened[2] and not blocks and not "".join(lines[start:]).strip():
        # One fence, at the end: the prompt had opened the block.
        blocks.append(("", "\n".join(lines[: start - 1])))
    elif opened is not None:
        blocks.append((opened[2], _content(lines[start:], opened[0])))
    return blocks


def _content(lines: Sequence[str], indent: str) -> str:
    return "\n".join(line.removeprefix(indent) for line in lines)


def _grade(completion: str, problem: Mapping, limit: float, isolated: bool) -> Verdict:
    program = program_of(completion)
    if program is None:
        return unparseable(None)
    _check_form(problem)
    texts = [program]
    if problem.get("prompt_type") == "completion":
        # Also where the program is whole: its first lines may lack what the prompt imports.
        texts = [f"{problem['prompt']}{program}", f"{problem['prompt']}\n{program}", program]
    run = _run_cases if "cases" in problem else _run_tests
    verdict = run(_jail(isolated), texts, problem, limit)
    if verdict == "correct":
        return judged(True, program)
    return Verdict(0.0, verdict, program)


def _run_tests(jail: Jail, texts: Sequence[str], problem: Mapping, limit: float) -> str:
    prompt = problem["prompt"] if problem.get("prompt_type") == "completion" else ""
    verdict, _, reason = jail.examine(texts, problem["tests"], problem["entry_point"], prompt, limit).partition(": ")
    if verdict == "untestable":
        raise UnparseableGold(problem["tests"], f"its tests: {reason}")
    return verdict


def _run_cases(jail: Jail, texts: Sequence[str], problem: Mapping, limit: float) -> str:
    deadline = time.monotonic() + limit
    for case in problem["cases"]:
        ended, written = jail.run(texts, case["input"], max(deadline - time.monotonic(), 0.0))
        if ended != "ok":
            return "wrong" if ended == "failed" else ended
        if _lines(written) != _lines(case["output"]):
            return "wrong"
    return "correct"


def _is_case(case: object) -> bool:
    return isinstance(case, Mapping) and all(isinstance(case.get(key), str) for key in ("input", "output"))


def _lines(text: str) -> list[list[str]]:
    """The words of each line, up to the last line that has any."""
    return [line.split() for line in text.rstrip().split("\n")]


@functools.cache
def _jail(isolated: bool) -> Jail:
    """That of this process, which ends with it."""
    return Jail(isolated)


def _check(key: str) -> None:
    """Refuses where programs cannot be isolated, by grading one.

    Raises:
        UsageError: names what is missing.
    """
    try:
        with Jail() as jail:
            verdict = jail.examine(["def f(x): return x"], "assert f(1) == 1", "f", "", LIMIT)
            if verdict != "correct":
                raise Refused(f"a program that is right was found {verdict!r}")
    except Refused as error:
        raise UsageError(
            f"{key}: 'code' runs programs in bubblewrap, and cannot here ({error}); expected bubblewrap "
            "(apt-get install bubblewrap) on a system that allows user namespaces, or the reward 'code_unisolated', "
            "whose programs can read and write all files that you can"
        ) from error


def _warn(key: str) -> None:
    log.warning("%s: 'code_unisolated' keeps no file of yours from the programs that it runs", key)


code.check_gold = code_unisolated.check_gold = check_gold  # type: ignore[attr-defined]
code.check = functools.cache(_check)  # type: ignore[attr-defined]
code_unisolated.check = functools.cache(_warn)  # type: ignore[attr-defined]
code.prepare = lambda: _jail(True).start()  # type: ignore[attr-defined]
code_unisolated.prepare = lambda: _jail(False).start()  # type: ignore[attr-defined]
code.own_limit = code_unisolated.own_limit = LIMIT  # type: ignore[attr-defined]
