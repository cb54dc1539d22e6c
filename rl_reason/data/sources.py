"""Where problems come from: made ones, the public data sets, local files, or the user's own function.

A source is a function `(split, dir, seed) -> Sequence[problem]`. A problem is a dictionary with non-empty strings `id`,
`problem` and `answer` (but for programs: `data.problems`), and what else the source knows about it.
"""

from __future__ import annotations

import functools
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rl_reason.data import assistant
from rl_reason.data.benchmarks import BENCHMARKS, load_benchmark
from rl_reason.data.bilingual import bilingual_problems
from rl_reason.data.evolving import easier_word_problems, harder_word_problems
from rl_reason.data.generated import is_generated, solutions
from rl_reason.data.geometry import BENCHMARKS as GEOMETRY
from rl_reason.data.geometry import ENDING, geometry, numbered_statements, read_geometry
from rl_reason.data.gym import PREFIX, GymProblems
from rl_reason.data.joined import Joined
from rl_reason.data.jsonl import read_jsonl
from rl_reason.data.problems import check_problem, first_file, folders, numbered_problems, read_problems
from rl_reason.data.public import load_public
from rl_reason.data.requests import replies, requests
from rl_reason.data.upstream import gsm8k_problem, math_files, math_problem
from rl_reason.data.word_problems import word_problems
from rl_reason.errors import UsageError
from rl_reason.registry import resolve

log = logging.getLogger(__name__)


def load(name: str, split: str, dir: str, seed: int, chat: bool = False) -> Problems:
    """The problems of `config.data.name`, checked: files when they are read, made problems when they are asked for.

    Args:
        name: a short name (`SOURCES`), a path that ends in `.jsonl`, one of geometry that ends in `.txt`, a folder of
            generated samples, `gym:TASK`, or `package.module:function`; or several of these joined by "+", one behind
            the other.
        split: "train" or "test"; a path has no splits.
        dir: folder with local files, empty for the public download; a path does without it.
        seed: for problems that are made.
        chat: whether rows may have `messages` in place of a problem (`data.chat`).

    Raises:
        UsageError: an unknown name, a missing file, or a row that is not a problem; names the file and line, or the id.
        RunError: a public download failed.
    """
    names = split_name(name)
    parts = [_load_one(part, split, dir, seed, chat) for part in names]
    for part, problems in zip(names, parts, strict=True):
        if len(problems) == 0:
            raise UsageError(f"config.data.name={part!r}: holds no problems")
    return Problems(names, parts, chat)


def split_name(name: str) -> list[str]:
    """The data sets that a name joins. A file or folder whose name has a "+" is one."""
    return [name] if os.path.exists(Path(name).expanduser()) else name.split("+")


def check_joins(joins: tuple, name: str, steps: int) -> None:
    """Checks `config.data.joins` of a run of so many steps, for what `config.data.name` joins.

    Raises:
        UsageError: not pairs (name, step); a name that is not joined, or comes twice; a step at which nothing changes.
    """
    expected = f"expected ((data set, step), …), each data set one of {', '.join(map(repr, split_name(name)))}, once"
    line = f"config.data.joins={joins!r}"
    try:
        names, starts = zip(*((one, start) for one, start in joins), strict=True) if joins else ((), ())
    except (TypeError, ValueError) as error:
        raise UsageError(f"{line}: {expected}") from error
    for one in names:
        if one not in split_name(name) or names.count(one) > 1:
            raise UsageError(f"{line}: {one!r}: {expected}")
    for start in starts:
        if not isinstance(start, int) or not 1 < start <= steps:
            raise UsageError(f"{line}: {start!r}: expected a step from 2 to config.steps={steps}")


def first_steps(problems: Problems, indices: Sequence[int], joins: tuple) -> list[int]:
    """The step from which on each of these problems takes part; raises `UsageError` where one joins that has none."""
    names, start_of = [problems.name_of(index) for index in indices], dict(joins)
    for name in start_of:
        if name not in names:
            raise UsageError(
                f"config.data.joins={joins!r}: no problem of {name!r} is among the {len(names)} that are trained on; "
                "expected some (config.data.problems counts from the front)"
            )
    return [start_of.get(name, 1) for name in names]


def is_file(name: str) -> bool:
    """Whether a name is that of files, which have no splits: a path that ends in `.jsonl` or `.txt`, or a folder of
    generated samples."""
    return name.endswith((".jsonl", ENDING)) or (name not in SOURCES and is_generated(name))


def place_of(name: str, problem: Mapping) -> str:
    """Where a problem of files that were loaded stands, to be written behind their name: ", line 3", of several files
    joined by "+" ": FILE, line 3"; empty where it is of no file. Reads the files again."""
    parts = split_name(name)
    for part in parts:
        path = Path(part).expanduser()
        rows = numbered_problems(path, chat=True) if part.endswith(".jsonl") else []
        rows = numbered_statements(path) if part.endswith(ENDING) else rows
        for line, row in rows:
            if (row["id"], row.get("problem")) == (problem["id"], problem.get("problem")):
                return f", line {line}" if len(parts) == 1 else f": {part}, line {line}"
    return ""


def _load_one(name: str, split: str, dir: str, seed: int, chat: bool) -> Sequence[Mapping]:
    if name.endswith(".jsonl"):
        return read_problems(Path(name).expanduser(), chat)
    if name.endswith(ENDING):
        return read_geometry(Path(name).expanduser())
    if is_file(name):
        return solutions(name)
    if name.startswith(PREFIX):
        return GymProblems(name, split, seed)
    return resolve(name, SOURCES, "config.data.name")(split, dir, seed)


class Problems(Joined):
    """Sources one behind the other; a problem is checked when it is asked for, so that sources may be lazy."""

    def __init__(self, names: Sequence[str], parts: Sequence[Sequence[Mapping]], chat: bool = False):
        super().__init__(parts)
        self._names, self._chat = names, chat

    @property
    def is_made(self) -> bool:
        """Whether problems are made when they are asked for: then there may be any number of them."""
        return not all(isinstance(part, list) for part in self._parts)

    def name_of(self, index: int) -> str:
        """The data set of a problem, as `config.data.name` has it."""
        return self._names[self.part_of(index)]

    def first_of_each(self, count: int) -> list[dict]:
        """The first so many of each source."""
        places = [(end - len(part), end) for end, part in zip(self._ends, self._parts, strict=True)]
        return [problem for start, end in places for problem in self[start : min(start + count, end)]]

    def at(self, part: int, within: int) -> dict:
        place = f"config.data.name={self._names[part]!r}"
        return check_problem(super().at(part, within), place, str(within), self._chat)


def gsm8k(split: str, dir: str, seed: int) -> list[dict]:
    """GSM8K: the public download, or in `dir` `gsm8k_<split>.jsonl`, or the authors' `<split>.jsonl`."""
    _check_split("gsm8k", split)
    if not dir:
        return load_public("gsm8k", split)
    places = folders(dir, "math")
    file = first_file(folder / f"gsm8k_{split}.jsonl" for folder in places)
    if file:
        return read_problems(file)
    file = first_file(folder / f"{split}.jsonl" for folder in (*places, Path(dir) / "grade_school_math" / "data"))
    if not file:
        raise UsageError(f"config.data.dir={dir!r}: holds neither gsm8k_{split}.jsonl nor GSM8K's own {split}.jsonl")
    problems: list[dict] = []
    for line, row in read_jsonl(file):
        try:
            problems.append(gsm8k_problem(row, split, len(problems)))
        except ValueError as error:
            raise UsageError(f"{file}, line {line}: {error}; expected a row of GSM8K") from None
    return problems


def math(split: str, dir: str, seed: int) -> list[dict]:
    """MATH: the public download, or in `dir` `math_<split>.jsonl`, or the authors' `<split>/<subject>/<number>.json`.

    Where `dir` has only the 500 test problems of MATH-500 (`math500.jsonl`), these are the test split, with a warning.
    """
    _check_split("math", split)
    if not dir:
        return load_public("math", split)
    places = folders(dir, "math", "MATH")
    file = first_file(folder / f"math_{split}.jsonl" for folder in places)
    if file:
        return read_problems(file)
    for folder in places:
        files = math_files(folder / split)
        if files:
            return _read_math_tree(files, split)
    file = first_file(folder / "math500.jsonl" for folder in places) if split == "test" else None
    if not file:
        expected = f"math_{split}.jsonl nor MATH's own {split}/<subject>/<number>.json"
        raise UsageError(f"config.data.dir={dir!r}: holds neither {expected}")
    log.warning("math, split test: only 500 of the 5,000 problems are here (MATH-500)")
    return read_problems(file)


def _read_math_tree(files: Sequence[Path], split: str) -> list[dict]:
    problems = []
    for file in files:
        try:
            row = json.loads(file.read_text(encoding="utf-8"))
            problem = math_problem(row if isinstance(row, dict) else {}, split, file.parent.name, file.stem)
        except (OSError, ValueError) as error:
            raise UsageError(f"{file}: {error}; expected a problem of MATH") from None
        if problem is not None:
            problems.append(problem)
    log.info("math, split %s: %d files, %d without an answer left out", split, len(files), len(files) - len(problems))
    return problems


def _check_split(name: str, split: str) -> None:
    if split not in ("train", "test"):
        raise UsageError(f"config.data.split={split!r}: {name} has 'train' and 'test'")


SOURCES: dict[str, Callable[[str, str, int], Sequence[dict]]] = {
    "word_problems": word_problems,
    "easier_word_problems": easier_word_problems,
    "harder_word_problems": harder_word_problems,
    "bilingual_problems": bilingual_problems,
    "replies": replies,
    "requests": requests,
    **assistant.SOURCES,
    **{name: functools.partial(load_benchmark, name) for name in BENCHMARKS},
    **{name: functools.partial(geometry, name) for name in GEOMETRY},
    "gsm8k": gsm8k,
    "math": math,
}
