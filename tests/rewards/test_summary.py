"""Figures of an evaluation from records that were made up, and the rating that solve rates come to."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rl_reason.rewards.rating import elo
from rl_reason.rewards.summary import figures, summarize

TAGGED = "<think>a</think> <answer>4</answer>"


def record(correct, completion="so 4", tokens=3, **others):
    made = {"id": "a", "correct": correct, "verdict": "correct" if correct else "wrong", "extracted": completion[-1]}
    return {**made, "completion": completion, "answer": "4", "tokens": [0] * tokens, "finish": "stop"} | others


def test_correctness_and_format_are_never_mixed():
    """Right without the form, and the form without being right."""
    right, formed = [record(True)] * 3, [record(False, TAGGED)] * 3
    assert (summarize(right, 1)["pass@1"], summarize(right, 1)["format"]) == (1.0, 0.0)
    assert (summarize(formed, 1)["pass@1"], summarize(formed, 1)["format"]) == (0.0, 1.0)
    both = summarize([*right, record(False, TAGGED)], 1)
    assert (both["pass@1"], both["format"], both["tokens/correct"]) == (0.75, 0.25, 4.0)


def test_rates_and_lengths():
    records = [
        record(True, tokens=2),
        record(False, tokens=4, finish="length", verdict="unparseable", extracted=None),
        record(False, tokens=6, verdict="timeout", extracted=None),
        record(True, tokens=8),
    ]
    made = summarize(records, 2)
    assert (made["n"], made["samples"], made["pass@1"], made["pass@2"], made["maj@2"]) == (2, 2, 0.5, 1.0, 1.0)
    assert (made["truncated"], made["unparseable"], made["timeout"], made["crash"]) == (0.25, 0.25, 0.25, 0.0)
    assert (made["tokens/completion"], made["tokens/completion_max"], made["tokens/correct"]) == (5.0, 8, 10.0)
    assert made["tokens/completion_ci95"] == [3.0, 7.0]
    assert "bon@2" not in made and "elo" not in made and "auc" not in made
    for name, value in made.items():
        low, high = made.get(f"{name}_ci95", (None, None))
        assert low is None or low <= value <= high
    json.dumps(made, allow_nan=False)


def test_nothing_right():
    made = summarize([record(False)] * 4, 2)
    assert made["tokens/correct"] is None and made["tokens/correct_ci95"] == [None, None]
    assert made["pass@1"] == made["pass@2"] == made["maj@2"] == 0
    some = summarize([record(False)] * 3 + [record(True)], 1)
    # A third of the bootstrap samples have no right one.
    assert some["tokens/correct"] == 12 and some["tokens/correct_ci95"][1] is None
    assert ["tokens/correct", "12.0 [4.0, –]"] in figures(some)


def test_lengths_and_reflection():
    """Of right and wrong samples, and of those that take a calculation back."""
    records = [
        record(True, "1+1=3 wait 1+1=2 so 2", tokens=2),
        record(False, "1+1=3, check: 1+1=2 so 3", tokens=4),
        record(True, "1+1=2 so 2", tokens=8),
        record(False, "1+1=2 but 1+1=3 so 3", tokens=6),
    ]
    made = summarize(records, 2)
    assert (made["tokens/right"], made["tokens/wrong"]) == (5.0, 5.0)
    assert (made["reflection/words"], made["reflection/rate"]) == (0.75, 0.75)
    assert (made["correction/rate"], made["correction/right"], made["correction/undone"]) == (0.5, 0.5, 0.25)
    assert ["correction/rate", "50.0% [0.0, 100.0]"] in figures(made)
    none = summarize([record(True)] * 2, 1)
    assert none["tokens/wrong"] is none["correction/right"] is None and none["correction/rate"] == 0


@pytest.mark.parametrize("without_scale", [False, True])
def test_choosing_by_scores(without_scale):
    """One problem: two wrong answers that agree, one right answer that scores higher than both together."""
    scores = [0.1, 0.2, 0.9]
    if without_scale:
        scores = [float(np.log(p / (1 - p))) for p in scores]
    answers = [record(False, "5"), record(False, "5"), record(True, "4")]
    made = summarize([{**one, "score": score} for one, score in zip(answers, scores, strict=True)], 3, without_scale)
    assert (made["maj@3"], made["weighted_maj@3"], made["bon@3"], made["auc"]) == (0.0, 1.0, 1.0, 1.0)
    assert made["bon@2"] == pytest.approx(2 / 3) and made["maj@2"] == pytest.approx(1 / 3)


def test_languages():
    """Of what has words, which share mixes; and right ones by the language of the problem."""
    english, chinese = {"language": "en"}, {"language": "zh"}
    records = [record(True, mixes=False, **english), record(False, mixes=None, **english)]
    records += [record(True, mixes=True, **chinese), record(True, mixes=True, **chinese)]
    records += [record(False, mixes=False, **chinese), record(False, mixes=None, **chinese)]
    made = summarize(records, 2)
    assert (made["language/mixed"], made["language/mixed/en"]) == (0.5, 0.0)
    assert made["language/mixed/zh"] == pytest.approx(2 / 3)
    assert (made["pass@1/en"], made["pass@1/zh"], made["pass@1"]) == (0.5, 0.5, 0.5)
    low, high = made["language/mixed/zh_ci95"]
    assert 0 <= low < made["language/mixed/zh"] < high <= 1
    assert ["language/mixed/en", "0.0% [0.0, 0.0]"] in figures(made)
    one = summarize(records[:2], 2)
    assert one["language/mixed"] == 0 and "pass@1/en" not in one
    assert "language/mixed" not in summarize([record(True)], 1)
    silent = summarize([record(True, mixes=None, **english)], 1)
    assert "language/mixed" not in silent
    json.dumps(made, allow_nan=False)


def test_no_vote_without_answers():
    programs = [record(True, answer=None), record(False, answer=None)]
    assert "pass@2" in summarize(programs, 2) and "maj@2" not in summarize(programs, 2)
    unnamed = [record(True, extracted=None), record(False, extracted=None)]
    assert "pass@2" in summarize(unnamed, 2) and "maj@2" not in summarize(unnamed, 2)


def test_powers_of_two_and_all():
    made = summarize([record(i % 3 == 0) for i in range(12)], 6)
    assert [name for name in made if name.startswith("pass@") and "ci95" not in name] == [
        "pass@1", "pass@2", "pass@4", "pass@6",
    ]  # fmt: skip


def test_a_rating_has_the_expected_number_of_solved_problems():
    rng = np.random.default_rng(0)
    difficulties = rng.uniform(800, 2400, 400)
    for skill in (1000, 1633, 2029):
        chances = 1 / (1 + 10 ** ((difficulties - skill) / 400))
        made = elo(difficulties, rng.binomial(8, chances) / 8)
        low, high = made["elo_ci95"]
        assert made["elo_n"] == 400 and low < made["elo"] < high
        assert abs(made["elo"] - skill) < 40 and high - low < 120
    exact = elo(difficulties, chances)["elo"]
    assert exact == pytest.approx(2029, abs=1e-6)


def test_one_rated_problem():
    assert elo(np.array([1500]), np.array([0.5]))["elo"] == pytest.approx(1500)
    assert elo(np.array([1500]), np.array([10 / 11]))["elo"] == pytest.approx(1900)


@pytest.mark.parametrize(("rate", "says"), [(0.0, "no sample solved"), (1.0, "every sample solved")])
def test_what_cannot_be_rated_is_null_with_a_reason(rate, says):
    made = elo(np.array([900, 1500, 2000]), np.full(3, rate))
    assert made["elo"] is None and made["elo_ci95"] == [None, None] and says in made["elo_reason"]
    json.dumps(made, allow_nan=False)


def test_a_bound_of_a_rating_may_be_open():
    made = elo(np.array([900, 1500, 2000, 2400]), np.array([1.0, 0, 0, 0]))
    assert made["elo_ci95"][0] is None and made["elo_ci95"][1] > made["elo"]


def test_rated_records():
    rated = [record(i < 2, rating=1500) for i in range(4)]
    made = summarize([*rated, record(True), record(True)], 1)
    assert made["elo"] == pytest.approx(1500) and made["elo_n"] == 4
    assert any(name == "elo" for name, _ in figures(made))
