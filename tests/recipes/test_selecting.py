"""Sieves of generated completions."""

import numpy as np
import pytest

from rl_reason.errors import UsageError
from rl_reason.recipes.checks.selecting import check_rank, check_select
from rl_reason.recipes.ranking import rank
from rl_reason.recipes.selecting import select
from rl_reason.rewards.combination import Graded
from rl_reason.settings import Selection, Settings, defaults

ROWS = [
    # (question, completion, finish, right, in one language)
    ("a", "1+1=2 so two", "stop", 1.0, 1.0),
    ("a", "1 + 1 = 2, which is two", "stop", 1.0, 1.0),  # the same calculation
    ("a", "2*1=2", "stop", 1.0, 1.0),
    ("a", "1+1=2 und zwei", "stop", 1.0, 0.5),
    ("a", "3-1=2", "stop", 1.0, 1.0),
    ("b", "1+1=3", "stop", 0.0, 1.0),
    ("b", "5-1=4", "length", 1.0, 1.0),
    ("b", "2*2=4", "stop", 1.0, 0.95),
]


def made(**changes):
    records = [
        {"id": id, "sample": i, "problem": f"what is {id}?", "answer": "2", "source": "s", "language": "en",
         "prompt": "what", "completion": text, "finish": finish, "tokens": [1, 2], "reward": 1.0}
        for i, (id, text, finish, _, _) in enumerate(ROWS)
    ]  # fmt: skip
    parts = {"accuracy": np.float32([row[3] for row in ROWS]), "language": np.float32([row[4] for row in ROWS])}
    graded = Graded(parts["accuracy"], parts, ["correct"] * len(ROWS), [None] * len(ROWS), {})
    wanted = Selection(**{"least": (("accuracy", 1.0), ("language", 0.9)), "keep": 2} | changes)
    return records, graded, wanted


def test_each_sieve_says_what_it_leaves():
    rows, counts = select(*made())
    assert [row["solution"] for row in rows] == ["1+1=2 so two", "2*1=2", "2*2=4"]
    assert counts == {
        "sampled": 8,
        "ended": 7,
        "with accuracy ≥ 1": 6,
        "with language ≥ 0.9": 5,
        "different": 3,
    }
    assert [row["id"] for row in rows] == ["a/0", "a/2", "b/7"]  # no two rows of a file share an id
    kept = {"id", "problem", "answer", "source", "language", "solution"}
    assert all(set(row) == kept for row in rows)


def test_zero_keeps_all_that_differ():
    rows, _ = select(*made(keep=0))
    assert [row["solution"] for row in rows] == ["1+1=2 so two", "2*1=2", "3-1=2", "2*2=4"]


def test_what_is_rewritten_is_what_is_learned_and_compared():
    rows, counts = select(*made(), lambda text, problem: None if problem["id"] == "b" else f"{text} (!)")
    assert [row["solution"] for row in rows] == ["1+1=2 so two (!)", "2*1=2 (!)"]
    assert counts["rewritten"] == 4


def test_what_could_not_be_graded_is_not_learned():
    records, graded, wanted = made()
    graded.failures.append({"index": 0, "part": "accuracy", "kind": "timeout", "message": ""})
    rows, counts = select(records, graded, wanted)
    assert counts["ended"] == 6
    assert rows[0]["solution"] == "1 + 1 = 2, which is two"


def test_a_completion_becomes_a_problem():
    records, graded, wanted = made(keep=0)

    def evolve(text, problem):
        return {"problem": f"{problem['problem']} And {text[0]}?", "answer": "7"} if problem["id"] == "a" else None

    rows, counts = select(records, graded, wanted, evolve)
    assert [row["problem"] for row in rows] == [f"what is a? And {n}?" for n in (1, 2, 3)]
    assert rows[0] == {"id": "a/0", "problem": "what is a? And 1?", "answer": "7", "evolved_from": "a"}
    assert (counts["rewritten"], counts["different"]) == (4, 3)  # two say the same
    with pytest.raises(UsageError, match="config.selection.rewrite.*`answer`"):
        select(records, graded, wanted, lambda text, problem: {"problem": "new"})


def test_ranks_become_pairs():
    """Of each question the best with the worst, as long as they differ."""
    texts = {"a": [3, 1, 2, 2, 5], "b": [1, 1], "c": [4]}
    records = [
        {"id": id, "sample": i, "problem": f"{id}?", "completion": f"{id}{i} is {score}", "finish": "stop"}
        for id, scores in texts.items()
        for i, score in enumerate(scores)
    ]
    total = np.float32([score for scores in texts.values() for score in scores])
    graded = Graded(total, {"judge": total}, ["wrong"] * len(total), [None] * len(total), {})
    pairs, counts = rank(records, graded, Selection(least=(), keep=0, pairs=4))
    assert [(one["problem"], one["chosen"], one["rejected"]) for one in pairs] == [
        ("a?", "a4 is 5", "a1 is 1"),
        ("a?", "a0 is 3", "a3 is 2"),
    ]
    assert pairs[0]["rewards"] == [5, 1] and counts["pairs"] == 2
    as_problems = lambda text, problem: {"problem": text, "answer": "1"}  # noqa: E731
    fewer, _ = rank(records, graded, Selection(least=(("judge", 2.0),), keep=0, pairs=1), as_problems)
    assert [(one["chosen"], one["rejected"]) for one in fewer] == [("a4 is 5", "a3 is 2")]


def test_what_ranking_reads():
    config = defaults()
    config.selection.inputs = ("x",)
    config.selection.pairs = 3
    with pytest.raises(UsageError, match="config.selection.pairs=3: is not read by selecting"):
        check_select(Settings.from_config(config))
    with pytest.raises(UsageError, match="config.selection.keep=1"):
        check_rank(Settings.from_config(config))
    config.selection.keep = 0
    check_rank(Settings.from_config(config))
    config.reward.weights = (0.0,)
    with pytest.raises(UsageError, match="config.reward.weights"):
        check_rank(Settings.from_config(config))
