"""Pairs, the questions about them, and what becomes of a judge's answers."""

import itertools
import math
import random
import re

import pytest

from rl_reason.data.constitution import Principle
from rl_reason.data.feedback import ORDERS, Pair, Said, make_pairs, preference, read_letter, share_of_first
from rl_reason.errors import UsageError

PRINCIPLES = [Principle("c", "r", f"Which is kinder, by {i}?") for i in range(3)]


def record(id, sample, completion, **changed):
    made = {"id": id, "sample": sample, "problem": f"Say {id}.", "completion": completion, "finish": "stop"}
    return made | {"reward": float(len(completion))} | changed


def pair(first="Hello!", second="Go away."):
    return Pair("a/0-1", record("a", 0, first), record("a", 0, first), record("a", 1, second), PRINCIPLES[0])


def test_pairs():
    records = [record("a", i, text) for i, text in enumerate(["x", "x", "y", "z", "w", "v"])]
    records += [record("b", 0, "x"), record("b", 1, "cut", finish="length"), record("b", 2, " ")]
    records += [record("b", 3, "y", failure={"kind": "refused"}), record("b", 4, "z")]
    pairs, unpaired = make_pairs(records, 9, PRINCIPLES, 0, "folder")
    assert [(p.id, p.first["completion"], p.second["completion"]) for p in pairs] == [
        ("a/0-2", "x", "y"), ("a/3-4", "z", "w"), ("b/0-4", "x", "z"),
    ]  # fmt: skip
    assert unpaired == len(records) - 6
    assert [p.id for p in make_pairs(records, 1, PRINCIPLES, 0, "folder")[0]] == ["a/0-2", "b/0-4"]
    with pytest.raises(UsageError, match="config.data.name='folder': no question has two completions"):
        make_pairs(records[-4:], 1, PRINCIPLES, 0, "folder")


def test_what_is_asked():
    (there,), (back,) = pair().turns(0, False), pair().turns(1, False)
    assert "(A) Hello!\n(B) Go away." in there and "(A) Go away.\n(B) Hello!" in back
    for asked in (there, back):
        assert asked.startswith("Say a.") and "Which is kinder, by 0?" in asked and asked.endswith("(A) or (B).")
    (thinking,) = pair().turns(0, True)
    assert "step by step" in thinking and "Answer with" not in thinking
    # A pair the other way round is asked the same two questions.
    turned = pair("Go away.", "Hello!")
    assert [turned.turns(order, False) for order in ORDERS] == [[back], [there]]


def test_the_other_way_round_a_share_is_1_minus_it_exactly():
    rng = random.Random(0)
    values = [0.0, 1.0, 0.5, 1e-20, 1 - 2**-53, *(rng.random() for _ in range(40))]
    for p, q in itertools.product(values, repeat=2):
        for clamp in (0.0, 0.4):
            share = share_of_first(p, q, clamp)
            assert share_of_first(q, p, clamp) == 1 - share and clamp <= share <= 1 - clamp
            clamped = [min(max(x, clamp), 1 - clamp) for x in (p, q)]
            assert abs(share - (clamped[0] + 1 - clamped[1]) / 2) < 1e-15


def test_a_judge_that_sees_no_difference_but_likes_a_letter():
    assert share_of_first(0.9, 0.9, 0.0) == 0.5


def test_a_row_the_other_way_round_is_the_same_row():
    """By a judge whose opinion depends on the words of the whole question."""

    def judge(asked):
        return Said(random.Random(asked).random())

    for i in range(50):
        one, other = pair(f"first {i}", f"second {i}"), pair(f"second {i}", f"first {i}")
        rows = [preference(p, [judge(p.turns(order, False)[0]) for order in ORDERS], 0.0) for p in (one, other)]
        assert all(rows[0][key] == rows[1][key] for key in ("chosen", "rejected", "share"))
        assert 0.5 < rows[0]["share"] <= 1


def test_rows():
    row = preference(pair(), [Said(0.2, "thoughts"), Said(0.9)], 0.0)
    assert (row["chosen"], row["rejected"]) == ("Go away.", "Hello!") and row["share"] == pytest.approx(0.85)
    assert row["rewards"] == [8.0, 6.0] and row["shares"] == [0.2, 0.9] and row["said"] == ["thoughts", ""]
    assert preference(pair(), [Said(0.2), Said(0.9)], 0.4)["share"] == pytest.approx(0.6)
    failed = preference(pair(), [Said(0.2), Said(None, "Hm.", "the answer names neither letter: 'Hm.'")], 0.0)
    assert failed["failure"]["message"].startswith("the answer names neither") and "share" not in failed


@pytest.mark.parametrize(
    "text, share",
    [
        ("(A)", 1.0),
        ("(B)", 0.0),
        (" B.", 0.0),
        ("The answer is (A), which is kinder. So (A).", 1.0),
        ("<think>\n(B) or so\n</think>\n\n(A)", 1.0),
        ("", None),
        ("A good question.", None),
        ("Neither.", None),
        ("(A) is as good as (B).", None),
        ("AB", None),
        ("(C)", None),
    ],
)
def test_letters_without_probabilities(text, share):
    said = read_letter(text)
    assert said.share == share and said.text == text
    assert (share is None) == bool(re.match("the answer names (neither letter|both letters): ", said.reason))


@pytest.mark.parametrize("tokens", [("(", "A", ")"), ("(A", ")"), (" (A)",), ("A",)])
def test_letters_with_probabilities(tokens):
    """However the tokenizer cuts them; what else could have stood there is not counted."""
    (place,) = [i for i, token in enumerate(tokens) if "A" in token]
    other = tokens[place].replace("A", "B")
    likely = [(token, {token: 0.0}) for token in tokens]
    likely[place] = (tokens[place], {tokens[place]: math.log(0.3), other: math.log(0.1), "The": math.log(0.6)})
    likely.append(("<|end|>", {"A": math.log(0.01), "B": math.log(0.9)}))
    assert read_letter("".join(tokens), likely).share == pytest.approx(0.75)


def test_probabilities_that_do_not_name_the_letter_are_not_read():
    assert read_letter("(B)", [("x", {"x": 0.0})]).share == 0.0
