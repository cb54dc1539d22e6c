"""Arithmetic word problems of two to four steps, or of as many as one likes, made without end from a seed.

A problem is a chain of events that change how many things somebody has. Whole numbers from 1 to 99 throughout.
Its `solution` is one calculation a line. Which split a problem belongs to is a hash of its arithmetic
(the events and their numbers, not the names and things), so the splits cannot share a problem,
not even one that is told with other names.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass

from rl_reason.data.made import MadeRows
from rl_reason.errors import UsageError

LARGEST = 99
SIZES = {"train": 200_000, "test": 2_000}
HELD_OUT = 10
"""One arithmetic in so many is held out."""
LENGTHS = (2, 4)
"""Fewest and most events of a problem."""

NAMES = (
    "Anna Ben Clara David Emma Felix Grace Hugo Iris Jonas Kira Liam Mia Noah Olga Paul Rosa Sam Tina Victor".split()
)
THINGS = "apples pens coins books shells cards stickers marbles eggs stamps flowers beads".split()
BOXES = "boxes bags packs baskets".split()

STARTS = (
    "{name} has {n} {things}.",
    "{name} starts with {n} {things}.",
    "There are {n} {things} on the table of {name}.",
)
EVENTS = {
    "add": ("{name} buys {n} more.", "{friend} gives {name} {n} {things}.", "Then {name} finds {n} {things}."),
    "subtract": ("{name} gives {n} to {friend}.", "{name} loses {n} {things}.", "Then {name} sells {n} of them."),
    "add_boxes": ("{name} buys {m} {boxes} of {n} {things}.", "{friend} brings {m} {boxes} with {n} {things} each."),
    "subtract_boxes": ("{name} fills {m} {boxes} with {n} {things} each and gives them away.",),
    "times": ("{friend} gives {name} so many that there are {n} times as many.",),
    "share": ("{name} puts the {things} into {n} equal piles and keeps one pile.",),
}
QUESTIONS = ("How many {things} does {name} have now?", "How many {things} are left with {name}?")


@dataclass(frozen=True)
class Event:
    kind: str
    n: int
    m: int = 1
    """Number of boxes."""


def draw_event(total: int, rng: random.Random) -> Event | None:
    """One event that keeps the total within 1…LARGEST, or None where the drawn kind allows none."""
    kind = rng.choice(
        ("add", "add", "add", "subtract", "subtract", "subtract", "add_boxes", "subtract_boxes", "times", "share")
    )
    room = LARGEST - total if kind.startswith("add") else total - 1
    if kind in ("add", "subtract"):
        return Event(kind, rng.randint(2, min(room, 60))) if room >= 2 else None
    if kind in ("add_boxes", "subtract_boxes"):
        m, n = rng.randint(2, 6), rng.randint(2, 9)
        return Event(kind, n, m) if m * n <= room else None
    n = rng.randint(2, 5)
    possible = total * n <= LARGEST if kind == "times" else total % n == 0 and total > n
    return Event(kind, n) if possible else None


def apply_event(total: int, event: Event) -> tuple[int, list[str]]:
    """The new total and the calculations that lead to it."""
    if event.kind == "times":
        return total * event.n, [f"{total}*{event.n}={total * event.n}"]
    if event.kind == "share":
        return total // event.n, [f"{total}/{event.n}={total // event.n}"]
    change, lines = event.n, []
    if event.kind.endswith("boxes"):
        change = event.m * event.n
        lines = [f"{event.m}*{event.n}={change}"]
    sign, result = ("+", total + change) if event.kind.startswith("add") else ("-", total - change)
    return result, [*lines, f"{total}{sign}{change}={result}"]


def work_out(total: int, events: Sequence[Event]) -> tuple[int, list[str]]:
    """The last total, and all calculations that lead to it."""
    lines: list[str] = []
    for event in events:
        total, more = apply_event(total, event)
        lines += more
    return total, lines


def orders(start: int, events: Sequence[Event]) -> list[tuple[Event, ...]]:
    """All orders in which the events lead to the same total, with no total on the way that is not in 1…LARGEST.

    What comes before a multiplication or a division stays before it.
    """
    found: list[tuple[tuple[Event, ...], int]] = [((), start)]
    for changes, run in itertools.groupby(events, lambda event: event.kind not in ("times", "share")):
        more = tuple(run)
        ways = sorted(set(itertools.permutations(more)), key=repr) if changes else [more]
        found = [((*done, *way), work_out(total, way)[0]) for done, total in found for way in ways if _fits(total, way)]
    return [done for done, _ in found]


def _fits(total: int, events: Sequence[Event]) -> bool:
    for event in events:
        total, _ = apply_event(total, event)
        if not 1 <= total <= LARGEST:
            return False
    return True


def draw_arithmetic(split: str, rng: random.Random, lengths: tuple[int, int]) -> tuple[int, list[Event]]:
    """A start and a chain of events that belong to the split."""
    while True:
        start = rng.randint(2, 60)
        total = start
        events: list[Event] = []
        steps = rng.randint(*lengths)
        while len(events) < steps:
            event = draw_event(total, rng)
            if event is not None:
                events.append(event)
                total, _ = apply_event(total, event)
        if is_of_split(split, start, events):
            return start, events


def is_of_split(split: str, start: int, events: Sequence[Event]) -> bool:
    """Whether an arithmetic belongs to the split: its hash says."""
    signature = repr((start, [(e.kind, e.n, e.m) for e in events]))
    held_out = int.from_bytes(hashlib.sha256(signature.encode()).digest()[:4]) % HELD_OUT == 0
    return held_out == (split == "test")


def begin_problem(
    split: str, index: int, seed: int, lengths: tuple[int, int] = LENGTHS
) -> tuple[int, list[Event], random.Random]:
    """The arithmetic of problem number `index`, and what draws the words that it is told in."""
    others = "" if lengths == LENGTHS else "/{}-{}".format(*lengths)
    rng = random.Random(f"{split}/{seed}/{index}{others}")
    return *draw_arithmetic(split, rng, lengths), rng


def make_problem(split: str, index: int, seed: int, lengths: tuple[int, int] = LENGTHS) -> dict:
    """Problem number `index` of a split: `id`, `problem`, `answer`, `solution`, `level` (the number of events)."""
    others = "" if lengths == LENGTHS else "/{}-{}".format(*lengths)
    told = tell(*begin_problem(split, index, seed, lengths))
    return {"id": f"word_problems{others}/{split}/{seed}/{index}", **told, "source": "word_problems"}


def tell(start: int, events: Sequence[Event], rng: random.Random) -> dict:
    """An arithmetic in words, sentence by sentence: `problem`, `answer`, `solution`, `level`."""
    name, friend = rng.sample(NAMES, 2)
    words = {"name": name, "friend": friend, "things": rng.choice(THINGS), "boxes": rng.choice(BOXES)}
    sentences = [rng.choice(STARTS).format(n=start, **words)]
    sentences += [rng.choice(EVENTS[event.kind]).format(n=event.n, m=event.m, **words) for event in events]
    sentences.append(rng.choice(QUESTIONS).format(**words))
    total, lines = work_out(start, events)
    return {
        "problem": " ".join(sentences),
        "answer": str(total),
        "solution": "\n".join(lines),
        "level": len(events),
    }


class WordProblems(MadeRows):
    """The problems of a split, made when they are asked for."""

    def __init__(self, split: str, seed: int, lengths: tuple[int, int] = LENGTHS):
        super().__init__(SIZES[split], lambda index: make_problem(split, index, seed, lengths))
        self.seed = seed


def word_problems(split: str, dir: str, seed: int) -> WordProblems:
    """The data source: `split` is "train" or "test"; the test split is the same for every seed; `dir` is not used."""
    if split not in SIZES:
        raise UsageError(f"config.data.split={split!r}: word_problems has {', '.join(SIZES)}")
    return WordProblems(split, 0 if split == "test" else seed)
