"""Near-duplicates: hashing finds what comparing every pair does."""

import random

import pytest

from rl_reason.data.near_duplicates import bands, near_duplicates
from rl_reason.data.word_runs import word_runs, words


def changed(text, count, rng):
    """The text with so many of its words replaced."""
    made = text.split()
    for place in rng.sample(range(len(made)), count):
        made[place] = f"w{rng.randrange(10**6)}"
    return " ".join(made)


def by_every_pair(texts, similarity, n):
    """The same by definition: the first stays, and what is at least so similar to one that stays goes."""
    kept, gone = [], []
    for number, text in enumerate(texts):
        mine = [tuple(text.split()[i : i + n]) for i in range(len(text.split()) - n + 1)]
        near = []
        for other in kept:
            its = [tuple(texts[other].split()[i : i + n]) for i in range(len(texts[other].split()) - n + 1)]
            near.append((len(set(mine) & set(its)) / len(set(mine) | set(its)), -other))
        best, of = max(near, default=(0, 0))
        if best >= similarity:
            gone.append((number, -of, pytest.approx(best)))
        else:
            kept.append(number)
    return gone


@pytest.mark.parametrize("similarity", [0.5, 0.8])
def test_it_finds_what_comparing_all_finds(similarity):
    rng = random.Random(0)
    texts = [" ".join(f"w{rng.randrange(10**6)}" for _ in range(40)) for _ in range(15)]
    texts += [changed(rng.choice(texts[:15]), rng.randrange(6), rng) for _ in range(40)]
    rng.shuffle(texts)
    found = [(one.index, one.of, one.similarity) for one in near_duplicates(texts, similarity, 3)]
    assert found == by_every_pair(texts, similarity, 3)
    assert 10 < len(found) < 40  # some stay beside their cluster


def test_a_chain_is_not_a_cluster():
    """What is near to something that is left out, and to nothing that stays, stays."""
    texts = ["a b c d e f g h", "a b c d e f g x", "a b c d e f y x"]
    assert [one.index for one in near_duplicates(texts, 0.7, 2)] == [1]


def test_short_and_wordless_texts():
    texts = ["Two plus two?", "two  plus TWO", "two plus three", "?", "!", "?", ""]
    assert [(one.index, one.of) for one in near_duplicates(texts, 1.0, 8)] == [(1, 0), (5, 3)]


def test_words_of_languages_without_spaces():
    assert words("小明有3个苹果 Ök") == ["小", "明", "有", "3", "个", "苹", "果", "ök"]
    assert word_runs("a-b c", 2) == {("a", "b"), ("b", "c")}
    assert word_runs("a b", 3) == {("a", "b")}


def test_bands_find_what_is_just_similar_enough():
    for similarity in (0.01, 0.04, 0.5, 0.65, 0.8, 0.95, 1.0):
        count, rows = bands(similarity)
        assert count * rows <= 128
        # Below 0.036 no bands can.
        assert count > 1 and 1 - (1 - similarity**rows) ** count >= (0.99 if similarity > 0.036 else 0)
