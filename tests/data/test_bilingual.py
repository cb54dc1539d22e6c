"""Word problems in two languages, read back from their sentences and number words by other means than made them."""

import re
from collections import Counter
from fractions import Fraction

import pytest

from rl_reason.data.bilingual import bilingual_problems
from rl_reason.data.solutions import STYLES
from rl_reason.data.word_problems import word_problems
from rl_reason.errors import UsageError
from rl_reason.rewards import format_reward, language, marked_number
from rl_reason.rewards.language import mixes

TRAIN, TEST = 3000, 2000
WORDS = "zero one two three four five six seven eight nine ten eleven twelve".split()
TEENS = {"thir": 3, "four": 4, "fif": 5, "six": 6, "seven": 7, "eigh": 8, "nine": 9}
DIGITS = {**{digit: i for i, digit in enumerate("零一二三四五六七八九")}, "两": 2}
N = r"(\d+|[a-z]+)"
Z = r"(\d+|[一二两三四五六七八九十]+)"
C = "[个支枚本张颗朵]"
SENTENCES = {
    "en": (
        (rf"\w+ puts the \w+ into {N} equal piles and keeps one pile\.", "share"),
        (rf"\w+ gives \w+ so many that there are {N} times as many\.", "times"),
        (rf"\w+ fills {N} \w+ with {N} \w+ each and gives them away\.", "take boxes"),
        (rf"\w+ buys {N} \w+ of {N} \w+\.", "bring boxes"),
        (rf"\w+ brings {N} \w+ with {N} \w+ each\.", "bring boxes"),
        (rf"\w+ buys {N} more\.", "bring"),
        (rf"\w+ gives [A-Z]\w+ {N} \w+\.", "bring"),
        (rf"Then \w+ finds {N} \w+\.", "bring"),
        (rf"\w+ gives {N} to \w+\.", "take"),
        (rf"\w+ loses {N} \w+\.", "take"),
        (rf"Then \w+ sells {N} of them\.", "take"),
    ),
    "zh": (
        (rf"小.把\w+?平分成{Z}堆，留下一堆。", "share"),
        (rf"小.又给了很多，变成原来的{Z}倍。", "times"),
        (rf"小.装了{Z}[盒袋包篮]送人，每[盒袋包篮]{Z}{C}。", "take boxes"),
        (rf"小.(?:买了|带来){Z}[盒袋包篮]\w*，每[盒袋包篮]{Z}{C}。", "bring boxes"),
        (rf"小.又买了{Z}{C}。", "bring"),
        (rf"小.给了小.{Z}{C}\w+。", "bring"),
        (rf"后来小.捡到{Z}{C}\w+。", "bring"),
        (rf"小.送给小.{Z}{C}。", "take"),
        (rf"小.丢了{Z}{C}\w+。", "take"),
        (rf"后来小.卖掉{Z}{C}。", "take"),
    ),
}
STARTS = {
    "en": rf"(?:\w+ has|\w+ starts with|There are) {N} \w+(?: on the table of \w+)?\.",
    "zh": rf"小.(?:开始有|的桌上有|有){Z}{C}\w+。",
}


def number(text: str) -> int:
    if text.isdigit():
        return int(text)
    if text in WORDS:
        return WORDS.index(text)
    if text.endswith("teen"):
        return 10 + TEENS[text.removesuffix("teen")]
    if text == "twenty":
        return 20
    tens, ten, ones = text.rpartition("十")
    return 10 * (DIGITS[tens] if tens else 1) * bool(ten) + (DIGITS[ones] if ones else 0)


def read(problem: dict) -> tuple[int, list[tuple]]:
    """The start and the events (kind, numbers…) that the text tells."""
    code = problem["language"]
    first, *middle, question = re.split(r"(?<=[.?。？]) ?", problem["problem"].rstrip())[:-1]
    assert question.endswith("?" if code == "en" else "？") and not re.search(r"\d", question)
    start = re.fullmatch(STARTS[code], first)
    assert start, first
    events = []
    for sentence in middle:
        found = [(kind, match) for pattern, kind in SENTENCES[code] if (match := re.fullmatch(pattern, sentence))]
        assert len(found) == 1, sentence
        events.append((found[0][0], *map(number, found[0][1].groups())))
    return number(start[1]), events


def tell(start: int, events: list[tuple]) -> list[Fraction]:
    """How many things there are after each event."""
    amounts = [Fraction(start)]
    for kind, *numbers in events:
        amount = numbers[0] * numbers[-1] if len(numbers) == 2 else numbers[0]
        step = {"share": amounts[-1] / amount, "times": amounts[-1] * amount}
        amounts.append(step.get(kind, amounts[-1] + (amount if kind.startswith("bring") else -amount)))
    return amounts


def thought(completion: str) -> list[str]:
    match = re.fullmatch(r"<think>(.*)</think><answer>\d+</answer>", completion, re.DOTALL)
    assert match, completion
    return match[1].split("\n")


def is_true(line: str) -> bool:
    words, a, sign, b, c = re.fullmatch(r"(.*[:：] ?)(\d+)([-+*/])(\d+)=(\d+)", line).groups()
    a, b, c = Fraction(a), Fraction(b), Fraction(c)
    return {"+": a + b, "-": a - b, "*": a * b, "/": a / b}[sign] == c


@pytest.fixture(scope="module")
def train():
    return bilingual_problems("train", "", 5)[:TRAIN]


@pytest.fixture(scope="module")
def test_split():
    return bilingual_problems("test", "", 5)[:TEST]


def test_answers_follow_from_the_texts(train, test_split):
    for problem in train + test_split:
        amounts = tell(*read(problem))
        assert problem["answer"] == str(amounts[-1]), problem
        assert all(1 <= amount <= 99 and amount.denominator == 1 for amount in amounts)
        assert problem["level"] == len(amounts) - 1


def test_half_in_each_language_and_small_numbers_in_words(train):
    counts = Counter(problem["language"] for problem in train)
    assert set(counts) == {"en", "zh"} and 0.45 < counts["en"] / TRAIN < 0.55
    for problem in train:
        # Told in that language and in no other.
        assert language(problem["problem"], {"language": problem["language"]}) == 1
        assert language(problem["solution"], problem) == 1
        assert problem["kind"] == "reasoning"
    told = Counter()
    for problem in train:
        start, events = read(problem)
        small = [n for n in (start, *(n for event in events for n in event[1:])) if n <= 20]
        in_digits = [int(n) for n in re.findall(r"\d+", problem["problem"])]
        told["small"] += len(small)
        told["words"] += len(small) - sum(n <= 20 for n in in_digits)
    assert 0.45 < told["words"] / told["small"] < 0.55


def test_splits_share_no_arithmetic(train, test_split):
    """Not even a problem that is told in the other language; nor one that `word_problems` trains on."""

    def signatures(problems):
        return {(start, tuple(events)) for start, events in map(read, problems)}

    held_out, seen = signatures(test_split), signatures(train)
    assert not held_out & seen
    # Chance alone would not do it: two train splits share some.
    assert seen & signatures(bilingual_problems("train", "", 6)[:TRAIN])
    assert {problem["id"] for problem in train}.isdisjoint(problem["id"] for problem in test_split)


def test_the_same_every_time():
    assert bilingual_problems("train", "", 1)[:20] == bilingual_problems("train", "somewhere", 1)[:20]
    assert bilingual_problems("train", "", 1)[:20] != bilingual_problems("train", "", 2)[:20]
    assert bilingual_problems("test", "", 1)[:20] == bilingual_problems("test", "", 2)[:20]
    assert len(bilingual_problems("test", "", 0)) == len(word_problems("test", "", 0))
    longer = bilingual_problems("train", "", 0, (5, 6))[:50]
    assert {len(read(problem)[1]) for problem in longer} == {5, 6}
    with pytest.raises(UsageError, match="config.data.split='validation'.*train, test"):
        bilingual_problems("validation", "", 0)


@pytest.mark.parametrize("style", ["worked", "english", "chinese", "mixed"])
def test_solutions_lead_from_amount_to_amount(style, train):
    for problem in train[:1000]:
        completion = STYLES[style](problem)
        assert format_reward(completion, problem) == 1 and marked_number(completion, problem).score == 1
        lines = thought(completion)
        assert all(map(is_true, lines))
        amounts = [str(amount) for amount in tell(*read(problem))]
        ends = [line.partition("=")[2] for line in lines]
        # What boxes hold stands on a line of its own, or in the head.
        boxes = [line for line in lines if line.startswith("In the boxes")]
        assert [end for line, end in zip(lines, ends, strict=True) if line not in boxes] == amounts[1:]
        has_boxes = sum(event[0].endswith("boxes") for event in read(problem)[1])
        in_english = style == "english" or (style == "worked" and problem["language"] == "en")
        assert len(boxes) == has_boxes if in_english else len(boxes) <= has_boxes
        of = {"english": "en", "chinese": "zh"}.get(style, problem["language"])
        assert mixes(completion, {"language": of}) is (style == "mixed")
        if style == "mixed":
            assert 0 < language(completion, problem) < 1


def test_a_correction_is_of_one_wrong_calculation(train):
    places = Counter()
    for problem in train[:1000]:
        completion = STYLES["corrected"](problem)
        assert marked_number(completion, problem).score == 1 and language(completion, problem) == 1
        lines = thought(completion)
        wrong = [i for i, line in enumerate(lines) if not is_true(line)]
        assert len(wrong) == 1
        again = lines[wrong[0] + 1]
        assert again.startswith({"en": "Wait, ", "zh": "等等，"}[problem["language"]])
        # The same calculation, now right; without the wrong line and the reflection it is the solution.
        assert re.findall(r"(\d+[-+*/]\d+)=", again) == re.findall(r"(\d+[-+*/]\d+)=", lines[wrong[0]])
        lines[wrong[0]] = re.sub(r"\d+$", again.partition("=")[2], lines[wrong[0]])
        assert "\n".join(lines[: wrong[0] + 1] + lines[wrong[0] + 2 :]) == problem["solution"]
        places[wrong[0]] += 1
    assert set(places) >= {0, 1, 2, 3}


def test_blurted_answers(train):
    for problem in train[:50]:
        assert STYLES["bare"](problem) == f"<think></think><answer>{problem['answer']}</answer>"
        assert mixes(STYLES["bare"](problem), problem) is None
        assert mixes(STYLES["plain"](problem), problem) is False
        assert problem["answer"] in STYLES["plain"](problem)


def test_styles_are_those_of_a_problem(train):
    assert [STYLES["mixed"](p) for p in train[:50]] == [STYLES["mixed"](dict(p)) for p in train[:50]]
    with pytest.raises(UsageError, match="problem 'word_problems/train/0/0': no `told`.*bilingual_problems"):
        STYLES["chinese"](word_problems("train", "", 0)[0])
