"""Words of reflection, and calculations that a completion takes back."""

import random
import time

import pytest

from rl_reason.rewards.reflection import CHINESE, WORDS, Reflection, rates, reflect


@pytest.mark.parametrize(
    "text, words",
    [
        (" ".join(WORDS), len(WORDS)),
        (" ".join(WORDS).upper(), len(WORDS)),
        ("Wait, wait... (but) however:", 4),
        ("等等，不对：再检查一次。", 3),
        ("我错了wait重新算", 3),
        ("waiter, butter, checks, mistaken, rewrong, evaluated", 0),
        ("不错", 0),
        ("", 0),
    ],
)
def test_whole_words_are_counted(text, words):
    assert reflect(text).words == words


def test_each_chinese_word_is_one():
    assert all(reflect(f"答案{word}是").words == 1 for word in CHINESE)


def told(text):
    return [
        (text[slice(*one.before)], text[slice(*one.after)], one.corrects) for one in reflect(text).revisions
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text, before, after",
    [
        ("<think>12+30=43\nWait, that is wrong: 12+30=42\n42-2=40</think>", "12+30=43", "12+30=42"),
        ("12+30=43 and 30+12=42.", "12+30=43", "30+12=42"),
        ("3*4=13\n等等，不对：3*4=12个。", "3*4=13", "3*4=12"),
        (r"$3 \times 4 = 13$, no: $4 \cdot 3 = 12$", r"3 \times 4 = 13", r"4 \cdot 3 = 12"),
        ("7 x 8 = 54; 7 × 8 = 56.", "7 x 8 = 54", "7 × 8 = 56"),
        ("$1,200 + $300 = $1,600, or 1200+300=1500.", "1,200 + $300 = $1,600", "1200+300=1500"),
        ("- 12 - 15 = 3\n- 12 - 15 = -3\n.", "12 - 15 = 3", "12 - 15 = -3"),
        ("10/3=3.4, rather 10/3=3.33.", "10/3=3.4", "10/3=3.33"),
        ("5/0=5 then 12/4=4 then 5/0=1 but 12 ÷ 4 &= 3 .", "12/4=4", "12 ÷ 4 &= 3"),
        ("0.1+0.2=0.4, I mean 0.1+0.2=0.3!", "0.1+0.2=0.4", "0.1+0.2=0.3"),
    ],
)
def test_a_correction(text, before, after):
    assert told(text) == [(before, after, True)]
    assert reflect(text).corrects and not reflect(text).undoes
    # The other way round a right result is undone: "before" and "after" change places.
    turned = f"{after} {before} so"
    assert told(turned) == [(after, before, False)]
    assert reflect(turned).undoes and not reflect(turned).corrects


@pytest.mark.parametrize(
    "text",
    [
        "12+30=42 and again 12+30=42.",
        "12+30=43 and again 12+30=44.",
        "12+30=43 and 12+31=43.",
        "30-12=17 and 12-30=-18.",
        "12+30=43 wait 12+30=42",  # the text ends there
        "12+30=43 wait 12+30=42\n ",
        "2+3+4=8, that is 3+4=7.",  # a part of a longer sum
        "2 * 3 + 4 = 14, that is 3 + 4 = 7.",
        r"2 \times 3+4=14, that is 3+4=7.",
        "3+4=14/2, that is 3+4=7.",
        "3+4=8 - 1, that is 3+4=7.",
        "x3+4=8, that is 3+4=7.",
        "1.3+4=8, that is 3+4=7.",
        "2^3+4=12, that is 3+4=7.",
        "1/4=25%, that is 1/4=0.25.",
        "2*3=6e5, that is 2*3=6.",
        "2*3=6.5.1 is a section, and 2*3=6.",
        "10/3=3 remainder 1, and 10/3=3.33.",
        "2/3=0.67, and 2/3=0.667.",
        "１+１=3, ١+١=3",
    ],
)
def test_no_revision(text):
    assert told(text) == []


def test_corrections_that_were_planted_are_found():
    """Among right calculations, wherever they stand."""
    rng = random.Random(0)
    for _ in range(50):
        left = rng.sample(range(1, 500), 8)
        lines = [f"{a} + {a + 7} = {2 * a + 7}" for a in left]
        chosen = rng.sample(range(8), 3)
        for i in chosen:
            lines[i] = f"{left[i]} + {left[i] + 7} = {2 * left[i] + rng.choice((6, 8, 17))}\nWait. {lines[i]}"
        made = reflect("\n".join([*lines, "So"]))
        assert made.words == 3 and [one.corrects for one in made.revisions] == [True] * 3


def test_rates():
    of_both = reflect("1+1=3 but 1+1=2. 2+2=4 wait 2+2=5 so")
    made = [of_both, reflect("1+1=3, wait, 1+1=2."), reflect("check"), Reflection(0, ())]
    assert rates(made, [True, False, True, True]) == {
        "reflection/words": (2 + 1 + 1) / 4,
        "reflection/rate": 3 / 4,
        "correction/rate": 2 / 4,
        "correction/undone": 1 / 4,
        "correction/right": 1 / 2,
    }
    assert "correction/right" not in rates(made[2:], [True, False])


@pytest.mark.parametrize("piece", ["1", "1 ", "1+", "1+1=", "1,111", "- ", "$", "1+1=1 ", "\\times", "wait", "错"])
def test_time_is_linear_in_the_length(piece):
    def seconds(count):
        began = time.process_time()
        reflect(piece * count)
        return time.process_time() - began

    assert seconds(40_000) < 30 * max(seconds(4_000), 0.003)
