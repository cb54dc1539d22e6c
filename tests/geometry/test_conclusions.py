"""What is true in numbers."""

import itertools

import numpy as np
import pytest

from rl_reason.geometry.conclusions import conclusions, normal


def triangle(seed, **more):
    """Random corners a, b, c; of more points, the weights of the corners."""
    corners = np.random.default_rng(seed).normal(size=(3, 2))
    places = {"a": corners[0], "b": corners[1], "c": corners[2]}
    return {name: list(place) for name, place in places.items()} | {
        name: list(np.array(weights) @ corners) for name, weights in more.items()
    }


def test_midpoints_of_two_sides():
    drawings = [triangle(seed, d=(0.5, 0.5, 0), e=(0.5, 0, 0.5)) for seed in (1, 2)]
    assert conclusions(drawings) == [
        ("coll", "a", "b", "d"), ("coll", "a", "c", "e"), ("cong", "a", "d", "b", "d"), ("cong", "a", "e", "c", "e"),
        ("para", "b", "c", "d", "e"),
    ]  # fmt: skip


def test_a_rectangle_and_the_foot_on_its_diagonal():
    """By Thales a foot stands on the circle of the side; by the angles at the center all four corners on theirs."""

    def drawing(width, height):
        a, b, c, d = map(np.array, ((0, 0), (width, 0), (width, height), (0, height)))
        along = (c - a) / np.linalg.norm(c - a)
        return {"a": a, "b": b, "c": c, "d": d, "f": a + along * (along @ (b - a)), "o": (a + c) / 2}

    found = set(conclusions([drawing(3, 1), drawing(2, 7)]))
    assert {goal for goal in found if goal[0] == "cyclic"} == {("cyclic", "a", "b", "c", "d")}
    assert {("para", "a", "b", "c", "d"), ("perp", "a", "c", "b", "f"), ("cong", "a", "o", "b", "o")} <= found
    assert {("cong", "a", "c", "b", "d"), ("coll", "b", "d", "o"), ("coll", "c", "f", "o")} <= found
    assert ("para", "a", "f", "c", "o") not in found  # One line.
    assert ("perp", "a", "c", "b", "d") in conclusions([drawing(1, 1)])
    assert ("perp", "a", "c", "b", "d") not in conclusions([drawing(1, 1), drawing(2, 1)])


@pytest.mark.parametrize("goal, others", [
    ("coll a b c", itertools.permutations("abc")),
    ("cyclic a b c d", itertools.permutations("abcd")),
    ("para a c b d", ("acbd", "cabd", "acdb", "bdac", "dbca")),
    ("cong a b a c", ("abac", "baca", "acab", "caba")),
])  # fmt: skip
def test_one_form_of_what_means_the_same(goal, others):
    kind = goal.split()[0]
    assert {normal((kind, *points)) for points in others} == {tuple(goal.split())}
