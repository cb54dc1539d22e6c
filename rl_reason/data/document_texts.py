"""Made documents: pages of worked exercises, and remarks without a number.

Exercises are `data.word_problems` written as `data.few_shot` writes worked examples, so that a page looks like a prompt
of several of them. What is gained and lost is added up in any order, as by different people. Which split an exercise
belongs to is that of its arithmetic, in the order of the text and in that of the solution.
"""

from __future__ import annotations

import random

from rl_reason.data import few_shot
from rl_reason.data.made import MadeRows
from rl_reason.data.requests import make_request
from rl_reason.data.word_problems import begin_problem, is_of_split, orders, tell, work_out
from rl_reason.errors import UsageError

SIZES = {"train": 50_000, "test": 200}
PROBLEMS = (4, 6)
"""Fewest and most exercises of a page."""
REMARKS = (4, 12)


def _page(split: str, index: int, seed: int) -> dict:
    place = f"{split}/{seed}/{index}"
    rng = random.Random(f"exercises/{place}")
    # Their numbers lie behind those of any problem that is trained or tested on.
    first = 1_000_000 + index * PROBLEMS[1]
    examples = [few_shot.example(_worked(split, first + i, seed, rng)) for i in range(rng.randint(*PROBLEMS))]
    return {"id": f"exercises/{place}", "text": "\n".join(examples)}


def _worked(split: str, index: int, seed: int, rng: random.Random) -> tuple[str, str, str]:
    """An exercise, its solution in any order that leads to the answer and is no problem of another split, and that."""
    start, events, words = begin_problem(split, index, seed)
    ways = [order for order in orders(start, events) if is_of_split(split, start, order)]
    _, lines = work_out(start, rng.choice(ways))
    told = tell(start, events, words)
    return told["problem"], "\n".join(lines), told["answer"]


def _remarks(split: str, index: int, seed: int) -> dict:
    place = f"{split}/{seed}/{index}"
    rng = random.Random(f"remarks/{place}")
    lines: list[str] = []
    first, wanted = index * 1_000, rng.randint(*REMARKS)
    while len(lines) < wanted:
        request = make_request(split, first, seed)
        first += 1
        if request["language"] == "en":
            lines.append(f"{request['problem']}\n{request['answer']}")
    return {"id": f"remarks/{place}", "text": "\n\n".join(lines) + "\n"}


def _made(name: str, make, split: str, seed: int) -> MadeRows:
    if split not in SIZES:
        raise UsageError(f"config.documents.split={split!r}: {name} has {', '.join(SIZES)}")
    made_from = 0 if split == "test" else seed
    return MadeRows(SIZES[split], lambda index: make(split, index, made_from))


def exercises(split: str, dir: str, seed: int) -> MadeRows:
    """Pages of worked word problems, with their answers; the test split is the same for every seed."""
    return _made("exercises", _page, split, seed)


def remarks(split: str, dir: str, seed: int) -> MadeRows:
    """What people say to each other, in English, without a calculation."""
    return _made("remarks", _remarks, split, seed)
