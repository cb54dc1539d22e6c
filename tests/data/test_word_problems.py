"""Word problems, read back from their sentences by other means than those that made them."""

import itertools
import re
from fractions import Fraction

import pytest

from rl_reason.data.word_problems import Event, WordProblems, begin_problem, orders, word_problems, work_out
from rl_reason.errors import UsageError

TRAIN, TEST = 4000, 2000

START = r"(?:\w+ has|\w+ starts with|There are) (\d+) \w+(?: on the table of (\w+))?"
SENTENCES = (
    (r"\w+ puts the \w+ into (\d+) equal piles and keeps one pile", "share"),
    (r"\w+ gives \w+ so many that there are (\d+) times as many", "times"),
    (r"\w+ fills (\d+) \w+ with (\d+) \w+ each and gives them away", "take boxes"),
    (r"\w+ buys (\d+) \w+ of (\d+) \w+", "bring boxes"),
    (r"\w+ brings (\d+) \w+ with (\d+) \w+ each", "bring boxes"),
    (r"\w+ buys (\d+) more", "bring"),
    (r"\w+ gives \w+ (\d+) \w+", "bring"),
    (r"Then \w+ finds (\d+) \w+", "bring"),
    (r"\w+ gives (\d+) to \w+", "take"),
    (r"\w+ loses (\d+) \w+", "take"),
    (r"Then \w+ sells (\d+) of them", "take"),
)


def read(problem: str) -> tuple[int, list[tuple]]:
    """The start and the events (kind, numbers…) of a text, without names and things."""
    first, *middle, question = re.split(r"(?<=[.?]) ", problem)
    assert re.fullmatch(r"How many \w+ (?:does \w+ have now|are left with \w+)\?", question)
    start = re.fullmatch(START + r"\.", first)
    assert start, first
    events = []
    for sentence in middle:
        for pattern, kind in SENTENCES:
            if match := re.fullmatch(pattern + r"\.", sentence):
                events.append((kind, *map(int, match.groups())))
                break
        else:
            raise AssertionError(f"no such sentence: {sentence}")
    return int(start[1]), events


def tell(start: int, events: list[tuple]) -> list[Fraction]:
    """How many things there are after each event."""
    amounts = [Fraction(start)]
    for kind, *numbers in events:
        amount = numbers[0] * numbers[1] if len(numbers) == 2 else numbers[0]
        step = {"share": amounts[-1] / amount, "times": amounts[-1] * amount}
        amounts.append(step.get(kind, amounts[-1] + (amount if kind.startswith("bring") else -amount)))
    return amounts


def calculate(line: str) -> tuple[Fraction, Fraction]:
    """Left and right side of "a∘b=c"."""
    match = re.fullmatch(r"(\d+)([-+*/])(\d+)=(\d+)", line)
    assert match, line
    a, b = Fraction(match[1]), Fraction(match[3])
    return {"+": a + b, "-": a - b, "*": a * b, "/": a / b}[match[2]], Fraction(match[4])


@pytest.fixture(scope="module")
def train():
    return word_problems("train", "", 5)[:TRAIN]


@pytest.fixture(scope="module")
def test_split():
    return word_problems("test", "", 5)[:TEST]


def test_answers_follow_from_the_texts(train, test_split):
    for problem in train + test_split:
        amounts = tell(*read(problem["problem"]))
        assert problem["answer"] == str(amounts[-1])
        assert all(1 <= amount <= 99 and amount.denominator == 1 for amount in amounts)
        assert problem["level"] == len(amounts) - 1


def test_solutions_are_true_line_by_line(train, test_split):
    for problem in train + test_split:
        start, events = read(problem["problem"])
        amounts = tell(start, events)
        lines = problem["solution"].split("\n")
        for line in lines:
            left, right = calculate(line)
            assert left == right
            assert all(1 <= int(number) <= 99 for number in re.findall(r"\d+", line))
        # They lead there: each event's line starts from the amount before and ends in the one after it.
        steps = [line for line in lines if not re.match(r"\d+\*", line)] if len(lines) > len(events) else lines
        if len(lines) == len(events):
            assert [int(line.split("=")[1]) for line in steps] == amounts[1:]
            assert [int(re.match(r"\d+", line)[0]) for line in steps] == amounts[:-1]
        assert lines[-1].endswith(f"={problem['answer']}")
        boxes = sum(len(event) == 3 for event in events)
        assert len(lines) == len(events) + boxes


def test_all_kinds_and_levels_are_there(train, test_split):
    for split in (train, test_split):
        kinds = {event[0] for problem in split for event in read(problem["problem"])[1]}
        assert kinds == {kind for _, kind in SENTENCES}
        assert {problem["level"] for problem in split} == {2, 3, 4}
        assert len({problem["id"] for problem in split}) == len(split)
    assert len({problem["problem"] for problem in train}) > 0.99 * TRAIN


def test_splits_share_no_arithmetic(train, test_split):
    """Not even a problem that is told with other names, other things or other words for an event."""

    def signatures(problems):
        return {(start, tuple(events)) for start, events in (read(problem["problem"]) for problem in problems)}

    held_out, seen = signatures(test_split), signatures(train)
    assert not held_out & seen
    assert not held_out & signatures(word_problems("train", "", 6)[:TRAIN])
    # Chance alone would not do it: the train splits of two seeds share some.
    assert seen & signatures(word_problems("train", "", 6)[: 2 * TRAIN])


def test_the_same_every_time():
    a, b = word_problems("train", "", 1), word_problems("train", "somewhere", 1)
    assert a[:50] == b[:50]
    assert a[:50] != word_problems("train", "", 2)[:50]
    assert word_problems("test", "", 1)[:50] == word_problems("test", "", 2)[:50]


def test_a_sequence():
    problems = word_problems("test", "", 0)
    assert len(problems) == 2000 and len(word_problems("train", "", 0)) == 200_000
    assert problems[-1] == problems[1999] and problems[-2000] == problems[0]
    assert problems[3:9:2] == [problems[3], problems[5], problems[7]]
    assert problems[:2] + problems[2:4] == problems[:4] and problems[5:5] == []
    assert problems[-2:] == [problems[1998], problems[1999]]
    assert set(problems[0]) == {"id", "problem", "answer", "solution", "level", "source"}
    for index in (2000, -2001):
        with pytest.raises(IndexError):
            problems[index]
    assert sum(1 for _ in problems) == 2000


def test_an_unknown_split():
    with pytest.raises(UsageError, match="config.data.split='validation'.*train, test"):
        word_problems("validation", "", 0)


def test_problems_of_other_lengths():
    """Told and split as the others are, and others than these."""
    longer = [WordProblems(split, 0, (5, 6))[:300] for split in ("train", "test")]
    lengths = set()
    for problem in [*longer[0], *longer[1]]:
        start, events = read(problem["problem"])
        amounts = tell(start, events)
        assert amounts[-1] == int(problem["answer"]) and all(1 <= amount <= 99 for amount in amounts)
        assert len(events) == problem["level"]
        lengths.add(len(events))
    assert lengths == {5, 6}
    train, test = ({str(read(problem["problem"])) for problem in problems} for problems in longer)
    assert len(train) == len(test) == 300 and not train & test
    assert not {p["id"] for p in longer[1]} & {p["id"] for p in word_problems("test", "", 0)[:300]}


def told(event: Event) -> tuple:
    """An event as `read` gives it."""
    kind = event.kind.replace("add", "bring").replace("subtract", "take").replace("_", " ")
    return (kind, event.m, event.n) if kind.endswith("boxes") else (kind, event.n)


def as_sets(events) -> list[list[tuple]]:
    """What is gained and lost between multiplications and divisions, in no order."""
    parts: list[list[tuple]] = [[]]
    for event in map(told, events):
        if event[0] in ("times", "share"):
            parts += [[event], []]
        else:
            parts[-1].append(event)
    return list(map(sorted, parts))


def test_orders_that_lead_to_the_same_answer():
    several = 0
    for index in range(1000):
        start, events, _ = begin_problem("train", index, 3)
        expected = set()
        for way in itertools.permutations(events):
            amounts = tell(start, list(map(told, way)))
            if as_sets(way) == as_sets(events) and all(1 <= amount <= 99 for amount in amounts):
                expected.add(way)
                assert work_out(start, way)[0] == amounts[-1]
        found = orders(start, events)
        assert set(found) == expected and len(found) == len(expected)
        several += len(found) > 1
    assert several > 500
