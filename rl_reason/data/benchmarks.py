"""Named benchmarks: which file holds one, how its answers are graded, what kind of problems they are."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rl_reason.data.problems import first_file, folders, read_problems
from rl_reason.data.public import load_public
from rl_reason.errors import UsageError


@dataclass(frozen=True)
class Benchmark:
    """A row of the table."""

    file: str
    """Its name in a folder of local files is `<file>.jsonl`; "{split}" stands for the split."""
    kind: str
    """Which prompts suit it: "words" (word problems whose answer is a number), "math", "choice" or "code"."""
    grader: str
    public_splits: tuple[str, ...] = ()
    """Of the public download, where there is a builder for it."""


BENCHMARKS = {
    "gsm8k": Benchmark("gsm8k_{split}", "words", "number", ("train", "test")),
    "svamp": Benchmark("svamp", "words", "number"),
    "math": Benchmark("math_{split}", "math", "accuracy", ("train", "test")),
    "math500": Benchmark("math500", "math", "accuracy"),
    "aime24": Benchmark("aime24", "math", "accuracy"),
    "aime25": Benchmark("aime25", "math", "accuracy"),
    "amc23": Benchmark("amc23", "math", "accuracy"),
    "mmlu": Benchmark("mmlu", "choice", "choice", ("test", "validation", "dev")),
    "mmlu_stem": Benchmark("mmlu_stem", "choice", "choice"),
    "gpqa_diamond": Benchmark("gpqa_diamond", "choice", "choice", ("test",)),
    "humaneval": Benchmark("humaneval", "code", "code"),
    "mbpp": Benchmark("mbpp", "code", "code"),
    "mbpp_sanitized": Benchmark("mbpp_sanitized", "code", "code"),
    "livecodebench": Benchmark("livecodebench", "code", "code", ("test",)),
}
"""By name. GSM8K, SVAMP: the same number, exactly. MATH, AIME, AMC: mathematical equality, since a right answer may be
written in many ways. The others: the letter, or whether the program passes the tests."""


def load_benchmark(name: str, split: str, dir: str, seed: int) -> list[dict]:
    """A benchmark from `<file>.jsonl` in `dir`, or in `math` or `code` below it; without `dir` the public download.

    Args:
        name: in `BENCHMARKS`; GSM8K and MATH have sources of their own.
        split: rows say theirs (`split`), or are "test". Of LiveCodeBench also a span of months, as "2024-08..2025-01",
            the first and the last whose contests are in (the ones of DeepSeek-R1's table).
        dir: folder with local files, or "".
        seed: not read: nothing is drawn.

    Raises:
        UsageError: no such split, folder or file.
    """
    benchmark = BENCHMARKS[name]
    months = re.fullmatch(r"(\d{4}-\d\d)\.\.(\d{4}-\d\d)", split) if name == "livecodebench" else None
    asked = "test" if months else split
    if dir:
        file = first_file(folder / f"{benchmark.file}.jsonl" for folder in folders(dir, "math", "code"))
        if not file:
            raise UsageError(f"config.data.dir={dir!r}: holds no {benchmark.file}.jsonl")
        rows = read_problems(file)
        known = sorted({str(row.get("split", "test")) for row in rows})
        problems = [row for row in rows if row.get("split", "test") == asked]
    elif benchmark.public_splits:
        known = list(benchmark.public_splits)
        problems = load_public(name, asked) if asked in known else []
    else:
        raise UsageError(
            f"config.data.dir='': {name} has no public download here; expected {benchmark.file}.jsonl's folder"
        )
    if months:
        first, last = months.groups()
        problems = [row for row in problems if first <= row.get("date", "")[:7] <= last]
    if not problems:
        raise UsageError(f"config.data.split={split!r}: {name} has {', '.join(map(repr, known))}")
    return problems
