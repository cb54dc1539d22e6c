"""Named benchmarks: which file holds one, how its answers are graded, what kind of problems they are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Benchmark:
    """A row of the table."""

    file: str
    """Its name in a folder of local files is `<file>.jsonl`; "{split}" stands for the split."""
    kind: str
    """Which prompts suit it: "words" (word problems whose answer is a number), "math", "choice" or "code"."""
    grader: str
    is_public: bool = False
    """Whether there is a builder for the public download."""


BENCHMARKS = {
    "gsm8k": Benchmark("gsm8k_{split}", "words", "number", is_public=True),
    "svamp": Benchmark("svamp", "words", "number"),
    "math": Benchmark("math_{split}", "math", "accuracy", is_public=True),
    "math500": Benchmark("math500", "math", "accuracy"),
    "aime24": Benchmark("aime24", "math", "accuracy"),
    "aime25": Benchmark("aime25", "math", "accuracy"),
    "amc23": Benchmark("amc23", "math", "accuracy"),
    "mmlu": Benchmark("mmlu", "choice", "choice", is_public=True),
    "mmlu_stem": Benchmark("mmlu_stem", "choice", "choice"),
    "gpqa_diamond": Benchmark("gpqa_diamond", "choice", "choice", is_public=True),
    "humaneval": Benchmark("humaneval", "code", "code"),
    "mbpp": Benchmark("mbpp", "code", "code"),
    "mbpp_sanitized": Benchmark("mbpp_sanitized", "code", "code"),
    "livecodebench": Benchmark("livecodebench", "code", "code", is_public=True),
}
"""By name. GSM8K, SVAMP: the same number, exactly. MATH, AIME, AMC: mathematical equality, since a right answer may be
written in many ways. The others: the letter, or whether the program passes the tests."""
