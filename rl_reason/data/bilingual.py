"""The word problems of `data.word_problems` in two languages: half of them are told in English, half in Chinese.

Small numbers are told as words, about half of them. A solution is told event by event: words of a language, then a
calculation, one a line. Chinese solutions are terser, as a base model's text may be: what boxes hold is multiplied in
the head, while English ones write it on a line of its own. To think in Chinese is thus a little harder.

A problem belongs to the split of its arithmetic, whatever language and words it is told in.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from rl_reason.data import word_problems
from rl_reason.data.made import MadeRows
from rl_reason.data.word_problems import LENGTHS, SIZES, Event, apply_event, draw_arithmetic
from rl_reason.errors import UsageError

LANGUAGES = ("en", "zh")
LARGEST_WORD = 20
"""Numbers up to this one may be told as words."""


@dataclass(frozen=True)
class Language:
    """How problems are told in a language, and what solutions say."""

    names: tuple[str, ...]
    things: tuple[tuple[str, str], ...]
    """Each with its measure word, empty where the language has none."""
    boxes: tuple[str, ...]
    starts: tuple[str, ...]
    events: dict[str, tuple[str, ...]]
    questions: tuple[str, ...]
    numbers: tuple[str, ...]
    """The words of 0 to `LARGEST_WORD`."""
    space: str
    """Between sentences."""
    lines: dict[str, str]
    """What stands before a calculation, by its sign, or "boxes"."""
    colon: str
    shows_boxes: bool
    """Whether what boxes hold is calculated on a line of its own."""


ENGLISH = Language(
    names=tuple(word_problems.NAMES[:12]),
    things=tuple((thing, "") for thing in word_problems.THINGS),
    boxes=tuple(word_problems.BOXES),
    starts=word_problems.STARTS,
    events=word_problems.EVENTS,
    questions=word_problems.QUESTIONS,
    numbers=tuple(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty".split()
    ),
    space=" ",
    lines={"+": "More now", "-": "Fewer now", "*": "So many times", "/": "One of the piles", "boxes": "In the boxes"},
    colon=": ",
    shows_boxes=True,
)
CHINESE = Language(
    names=tuple("小明 小红 小刚 小华 小芳 小军 小丽 小强 小英 小龙 小雪 小云".split()),
    things=tuple(
        zip(
            "苹果 钢笔 硬币 书 贝壳 卡片 贴纸 弹珠 鸡蛋 邮票 花 珠子".split(),
            "个 支 枚 本 个 张 张 颗 个 张 朵 颗".split(),
            strict=True,
        )
    ),
    boxes=tuple("盒袋包篮"),
    starts=("{name}有{n}{c}{things}。", "{name}开始有{n}{c}{things}。", "{name}的桌上有{n}{c}{things}。"),
    events={
        "add": ("{name}又买了{n}{c}。", "{friend}给了{name}{n}{c}{things}。", "后来{name}捡到{n}{c}{things}。"),
        "subtract": ("{name}送给{friend}{n}{c}。", "{name}丢了{n}{c}{things}。", "后来{name}卖掉{n}{c}。"),
        "add_boxes": ("{name}买了{m}{boxes}{things}，每{boxes}{n}{c}。", "{friend}带来{m}{boxes}，每{boxes}{n}{c}。"),
        "subtract_boxes": ("{name}装了{m}{boxes}送人，每{boxes}{n}{c}。",),
        "times": ("{friend}又给了很多，变成原来的{n}倍。",),
        "share": ("{name}把{things}平分成{n}堆，留下一堆。",),
    },
    questions=("现在{name}有多少{c}{things}？", "{name}还剩多少{c}{things}？"),
    # What is counted stands behind a measure word, so two is 两.
    numbers=tuple("零 一 两 三 四 五 六 七 八 九 十 十一 十二 十三 十四 十五 十六 十七 十八 十九 二十".split()),
    space="",
    lines={"+": "现在多了", "-": "现在少了", "*": "变成几倍", "/": "其中一堆"},
    colon="：",
    shows_boxes=False,
)
TOLD = dict(zip(LANGUAGES, (ENGLISH, CHINESE), strict=True))


def make_problem(split: str, index: int, seed: int, lengths: tuple[int, int] = LENGTHS) -> dict:
    """Problem number `index` of a split.

    Returns:
        `id`, `problem`, `answer`, `language` ("en" or "zh"), `solution` in that language, `told` (in each language the
        lines of each event, which the styles of `data.solutions` choose from), `level` (the number of events),
        `kind` ("reasoning") and `source`.
    """
    others = "" if lengths == LENGTHS else "/{}-{}".format(*lengths)
    rng = random.Random(f"bilingual/{split}/{seed}/{index}{others}")
    start, events = draw_arithmetic(split, rng, lengths)
    language = rng.choice(LANGUAGES)
    told = TOLD[language]
    name, friend = rng.sample(told.names, 2)
    things, measure = rng.choice(told.things)
    words = {"name": name, "friend": friend, "things": things, "c": measure, "boxes": rng.choice(told.boxes)}
    sentences = [rng.choice(told.starts).format(n=_number(start, told, rng), **words)]
    lines: dict[str, list] = {code: [] for code in LANGUAGES}
    total = start
    for event in events:
        n, m = _number(event.n, told, rng), _number(event.m, told, rng)
        sentences.append(rng.choice(told.events[event.kind]).format(n=n, m=m, **words))
        for code in LANGUAGES:
            lines[code].append(_lines(total, event, TOLD[code]))
        total, _ = apply_event(total, event)
    sentences.append(rng.choice(told.questions).format(**words))
    return {
        "id": f"bilingual_problems{others}/{split}/{seed}/{index}",
        "problem": told.space.join(sentences),
        "answer": str(total),
        "language": language,
        "solution": "\n".join(lines[language]),
        "told": lines,
        "level": len(events),
        "kind": "reasoning",
        "source": "bilingual_problems",
    }


def _number(n: int, told: Language, rng: random.Random) -> str:
    return told.numbers[n] if n <= LARGEST_WORD and rng.random() < 0.5 else str(n)


def _lines(total: int, event: Event, told: Language) -> str:
    """The lines of an event, which finds `total` things there."""
    _, calculations = apply_event(total, event)
    labels = [next(told.lines[sign] for sign in "+-*/" if sign in line) for line in calculations]
    if event.kind.endswith("boxes"):
        if told.shows_boxes:
            labels[0] = told.lines["boxes"]
        else:
            calculations, labels = calculations[1:], labels[1:]
    return "\n".join(f"{label}{told.colon}{line}" for label, line in zip(labels, calculations, strict=True))


def bilingual_problems(split: str, dir: str, seed: int, lengths: tuple[int, int] = LENGTHS) -> MadeRows:
    """The data source: `split` is "train" or "test"; the test split is the same for every seed; `dir` is not used."""
    if split not in SIZES:
        raise UsageError(f"config.data.split={split!r}: bilingual_problems has {', '.join(SIZES)}")
    made_from = 0 if split == "test" else seed
    return MadeRows(SIZES[split], lambda index: make_problem(split, index, made_from, lengths))
