"""Penalties on repetition and on length."""

import random

import pytest

from rl_reason.rewards import length, repetition
from rl_reason.rewards.repetition import SIZE


def words(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices("abcdefgh", k=6)) for _ in range(count)]


@pytest.mark.parametrize("period", [1, 2, 7, 50])
def test_repetition_counts_windows_seen_before(period):
    units = words(period) * (400 // period)
    windows = [tuple(units[i : i + SIZE]) for i in range(len(units) - SIZE + 1)]
    expected = len(set(windows)) / len(windows) - 1
    assert repetition(" ".join(units), {}) == pytest.approx(expected)
    assert expected < -0.8


@pytest.mark.parametrize("text", [
    "", "one word", "the same " * 9, " ".join(words(1000)),
    "\n".join(f"{a}*{b}={a * b}" for a in range(12) for b in range(9)),
])
def test_no_repetition(text):
    assert repetition(text, {}) == 0.0


@pytest.mark.parametrize("text", [
    "a" * 10_000, "1" * 10_000, "\n" * 10_000, "-" * 10_000, "三" * 10_000, "我们来看" * 500, "Wait, " * 500,
    "(" * 5000, "\\boxed{18} " * 500, "\ud800" * 1000,
])
def test_loops_of_any_kind(text):
    assert -1.0 <= repetition(text, {}) < -0.9


def test_a_chinese_text_is_not_one_word():
    half = "".join(chr(0x4E00 + i) for i in range(300))
    assert repetition(half, {}) == 0.0
    assert repetition(half + half, {}) == pytest.approx(-281 / 581)


@pytest.mark.parametrize("characters, expected", [
    (0, 0), (1, 0), (800, 0), (850, -0.25), (900, -0.5), (1000, -1), (1001, -1), (10**7, -1),
])
def test_length(characters, expected):
    assert length("x" * characters, {"max_characters": 1000}) == pytest.approx(expected)


@pytest.mark.parametrize("limit", [None, 0, -5, "1000", True, float("nan"), float("inf")])
def test_length_needs_a_limit(limit):
    for call in (length.check_gold, lambda problem: length("x", problem)):
        with pytest.raises(ValueError, match="max_characters="):
            call({"max_characters": limit})
