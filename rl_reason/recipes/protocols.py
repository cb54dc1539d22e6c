"""What an evaluation does where no flag says it: the defaults of its problems, and the protocols of papers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rl_reason.data.benchmarks import BENCHMARKS
from rl_reason.data.problems import TESTS
from rl_reason.errors import UsageError, nearest
from rl_reason.sampling.beam import Beam
from rl_reason.sampling.tree import Tree
from rl_reason.settings import Reward

Defaults = dict[str, Any]
R1_COMPLETIONS = 4096
"""About so many completions of a data set: more samples of each problem where there are few problems."""


def settle(flags: Mapping[str, Any], problems: Sequence[Mapping]) -> dict[str, Any]:
    """The flags with a value for each that none was given for (None, "" or "auto"); what was given stays.

    Raises:
        UsageError: an unknown protocol, or one that has no prompt for such problems; a grader is to be given.
    """
    kind, grader = kind_of(flags["data"], problems)
    protocol = PROTOCOLS.get(flags["protocol"])
    if protocol is None:
        raise UsageError(
            f"--protocol={flags['protocol']!r}: unknown protocol{nearest(flags['protocol'], filter(None, PROTOCOLS))}"
        )
    defaults = protocol(kind, len(problems), flags["samples"])
    if flags["grader"] == "auto" and not grader:
        raise UsageError(f"--data={flags['data']}: its parts have different graders; expected --grader=NAME")
    if not flags["template"] and not defaults["template"]:
        told = f"--protocol={flags['protocol']} has no prompt for problems of {kind}" if kind else "its parts differ"
        raise UsageError(f"--data={flags['data']}: {told}; expected --template=NAME")
    settled = {
        name: defaults[name] if value in (None, "") and name in defaults else value for name, value in flags.items()
    }
    return settled | {"grader": grader if flags["grader"] == "auto" else flags["grader"]}


SEARCHES: dict[str, Defaults] = {
    "beam": {"expansions": Beam.expansions, "width": Beam.width, "choose": "score"},
    "tree": {"expansions": Tree.expansions, "simulations": Tree.simulations, "choose": "score"},
}
"""What each kind of search reads."""


def settle_scores(flags: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The same for the flags of a reward model and of the search that it guides; None for those that nothing reads.

    Args:
        flags: as `settle` returns them.
        kind: what the reward model was trained for; "" without one.

    Raises:
        UsageError: one is given that such a reward model does not read.
    """
    read = dict(SEARCHES.get(flags["search"], {}))
    if kind == "process":
        read["aggregation"] = Reward.aggregation
    if kind == "process" or flags["search"]:
        read["step_separator"] = Reward.step_separator
    settled = dict(flags)
    for name in ("aggregation", "step_separator", *{name for search in SEARCHES.values() for name in search}):
        if flags[name] and name not in read:
            told = f"--reward_model={flags['reward_model']!r} was trained for {kind}; expected a process reward model"
            raise UsageError(f"--{name}={flags[name]!r}: {told}")
        settled[name] = (flags[name] or read[name]) if name in read else None
    return settled


def kind_of(name: str, problems: Sequence[Mapping]) -> tuple[str, str]:
    """What kind of problems these are, and how they are graded; "" where parts of them differ.

    Named benchmarks are told by `data.benchmarks`, others by their rows: those with `tests` or `cases` are "code",
    those with `choices` "choice", those of `gym:TASK` by their `entry` "gym", all others "math".
    """
    parts = [BENCHMARKS.get(part) for part in ([name] if name.endswith(".jsonl") else name.split("+"))]
    known = [part for part in parts if part]
    if len(known) < len(parts):
        kinds = set(map(_kind_of_row, problems))
        graders = {GRADERS[kind] for kind in kinds}
    else:
        kinds, graders = {part.kind for part in known}, {part.grader for part in known}
    if graders == {"number", "accuracy"}:  # the latter reads numbers too
        graders = {"accuracy"}
    if kinds == {"words", "math"}:
        kinds = {"math"}
    return (kinds.pop() if len(kinds) == 1 else ""), (graders.pop() if len(graders) == 1 else "")


def _kind_of_row(row: Mapping) -> str:
    if "entry" in row:
        return "gym"
    return "code" if any(key in row for key in TESTS) else "choice" if "choices" in row else "math"


GRADERS = {"math": "accuracy", "choice": "choice", "code": "code", "gym": "gym"}
"""Of the kinds of problems in files."""


def _plain(kind: str, problems: int, samples: int | None) -> Defaults:
    """One greedy sample, prompts for base models."""
    templates = dict.fromkeys(("words", "math", "gym"), "r1_zero") | {"choice": "choice_plain", "code": "code_plain"}
    template = templates.get(kind, "")
    return {"template": template, "samples": 1, "temperature": 0.0, "top_p": 1.0, "max_tokens": 1024}


def _r1(kind: str, problems: int, samples: int | None) -> Defaults:
    """DeepSeek-R1 (arXiv 2501.12948, section 3.1): temperature 0.6, top-p 0.95, up to 32,768 tokens, and k samples, 4
    to 64 "depending on the test set size": here the greatest power of two in that range which makes no more than
    `R1_COMPLETIONS` (64 up to 64 problems, 16 for the 198 of GPQA-diamond, 8 for the 500 of MATH-500), and 4 of each
    where there are more problems."""
    k = 64
    while k > 4 and k * problems > R1_COMPLETIONS:
        k //= 2
    template = {"words": "boxed", "math": "boxed", "choice": "choice", "code": "code"}.get(kind, "")
    return {"template": template, "samples": k, "temperature": 0.6, "top_p": 0.95, "max_tokens": 32768}


def _minerva(kind: str, problems: int, samples: int | None) -> Defaults:
    """Minerva (arXiv 2206.14858): four worked examples before the problem; greedy with one sample, with more of them
    (maj@k) temperature 0.6 and top-p 0.95."""
    template = {"words": "minerva_words", "math": "minerva_math"}.get(kind, "")
    draws = {"temperature": 0.6, "top_p": 0.95} if (samples or 1) > 1 else {"temperature": 0.0, "top_p": 1.0}
    return {"template": template, "samples": 1, "max_tokens": 1024, **draws}


PROTOCOLS: dict[str, Callable[[str, int, int | None], Defaults]] = {"": _plain, "r1": _r1, "minerva": _minerva}
"""(kind of the problems, their number, samples that were asked for) → flags."""
