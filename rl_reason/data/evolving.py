"""Word problems evolved by rules, as Evol-Instruct has a model do it (WizardMath, arXiv 2308.09583): upward, a problem
goes on with one more event in each round; downward, it ends one event earlier. The story stays the same, and answers
and solutions are exact.

Each problem belongs to the split of its own arithmetic, as those of `data.word_problems` do: where a shorter one does
not, an easier problem on another topic is made in its place, the paper's other way down.

`instruction_pairs` are two problems of which one is the better instruction, by what the paper ranks them by: what it
asks has to be complete, every quantity defined, and between two such problems the more difficult one is better.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from rl_reason.data.made import MadeRows
from rl_reason.data.word_problems import Event, apply_event, begin_problem, draw_event, is_of_split, make_problem, tell
from rl_reason.errors import UsageError

ROUNDS = 2
"""Each way."""
SIZES = {"train": 2_000, "test": 500}
"""Evolved problems, of so many rounds of a word problem."""
PAIRS = {"train": 4_000, "test": 500}
FAULTS = ("easy", "incomplete", "undefined")
"""What is wrong with the worse instruction of a pair."""
_NUMBER = re.compile(r"\d+")
_VAGUE = ("some", "a few", "many")


def harder(split: str, index: int, seed: int, rounds: int) -> dict:
    """Word problem number `index` of the split with `rounds` more events."""
    start, events, rng = begin_problem(split, index, seed)
    drawing = random.Random(f"harder/{split}/{seed}/{index}")
    for _ in range(rounds):
        events = _one_more(split, start, events, drawing)
    return {"id": f"harder_word_problems/{split}/{seed}/{index}/{rounds}", **tell(start, events, rng)}


def _one_more(split: str, start: int, events: list[Event], rng: random.Random) -> list[Event]:
    total = start
    for event in events:
        total, _ = apply_event(total, event)
    while True:
        drawn = draw_event(total, rng)
        if drawn is not None and is_of_split(split, start, [*events, drawn]):
            return [*events, drawn]


def easier(split: str, index: int, seed: int, rounds: int) -> dict:
    """Word problem number `index` of the split with `rounds` fewer events; one event is the fewest."""
    start, events, rng = begin_problem(split, index, seed)
    left = max(len(events) - rounds, 1)
    id = f"easier_word_problems/{split}/{seed}/{index}/{rounds}"
    if is_of_split(split, start, events[:left]):
        return {"id": id, **tell(start, events[:left], rng)}
    return make_problem(split, index, seed, (left, left)) | {"id": id}


def _source(name: str, evolve: Callable[[str, int, int, int], dict]) -> Callable[[str, str, int], MadeRows]:
    def source(split: str, dir: str, seed: int) -> MadeRows:
        """The data source: `split` is "train" or "test"; the test split is the same for every seed; `dir` is not
        used."""
        if split not in SIZES:
            raise UsageError(f"config.data.split={split!r}: {name} has {', '.join(SIZES)}")
        made_from = 0 if split == "test" else seed

        def make(row: int) -> dict:
            return evolve(split, row // ROUNDS, made_from, row % ROUNDS + 1) | {"source": name}

        return MadeRows(SIZES[split], make)

    return source


harder_word_problems = _source("harder_word_problems", harder)
easier_word_problems = _source("easier_word_problems", easier)


def make_pair(split: str, index: int, seed: int) -> dict:
    """Pair number `index` of a split: `problem`, the one that both have evolved from, `chosen` and `rejected`, two
    versions of it, and the `fault` of the latter (`FAULTS`).

    A version with a fault may be the harder one of the two: difficulty alone does not tell.
    """
    rng = random.Random(f"instruction_pairs/{split}/{seed}/{index}")
    fault = rng.choice(FAULTS)
    versions = [easier(split, index, seed, 1), make_problem(split, index, seed)]
    versions += [harder(split, index, seed, rounds) for rounds in range(1, ROUNDS + 1)]
    if fault == "easy":
        worse, better = sorted(rng.sample(versions, 2), key=lambda one: one["level"])
        if worse["level"] == better["level"]:  # One event is the fewest.
            worse, better = versions[1:3]
        rejected = worse["problem"]
    else:
        better, spoiled = rng.choice(versions), rng.choice(versions)
        rejected = _SPOIL[fault](spoiled["problem"], rng)
    row = {"id": f"instruction_pairs/{split}/{seed}/{index}", "problem": versions[1]["problem"]}
    return row | {"chosen": better["problem"], "rejected": rejected, "fault": fault}


def _without_question(text: str, rng: random.Random) -> str:
    return text.rsplit(". ", 1)[0] + "."


def _without_number(text: str, rng: random.Random) -> str:
    place = rng.choice(list(_NUMBER.finditer(text)))
    return f"{text[: place.start()]}{rng.choice(_VAGUE)}{text[place.end() :]}"


_SPOIL: dict[str, Callable[[str, random.Random], str]] = {
    "incomplete": _without_question,
    "undefined": _without_number,
}


def instruction_pairs(split: str, dir: str, seed: int) -> MadeRows:
    """Pairs for a preference model of questions (`data.labelled`, template "instruction")."""
    if split not in PAIRS:
        raise UsageError(f"config.data.split={split!r}: instruction_pairs has {', '.join(PAIRS)}")
    made_from = 0 if split == "test" else seed
    return MadeRows(PAIRS[split], lambda index: make_pair(split, index, made_from))
