"""Questions by measured pass rates, asked of learners whose true rates are known."""

import json

import numpy as np
import pytest

from rl_reason.data import prompt_selection
from rl_reason.data.iterators import EncodedPrompt, prompt_iterator
from rl_reason.data.prompt_selection import make_questions, systematic
from rl_reason.errors import RunError, UsageError
from rl_reason.settings import Prompts

G, Q = 8, 16
MODES = {
    "drop": Prompts(select="drop", drop_after=8, drop_steps=30),
    "weights": Prompts(select="weights", floor=0.5),
    "buckets": Prompts(select="buckets", floor=0.5, shares=((0, (0.0, 0.5, 0.5, 0.0)),)),
}


@pytest.fixture(autouse=True)
def quick_orders(request, monkeypatch):
    """Permutations that take no time, but for tests of the order itself: those of an iterator of few elements take 50
    ms."""
    if "order" not in request.node.name:
        order = lambda count, seed: lambda epoch: np.random.default_rng((seed, epoch)).permutation(count)  # noqa: E731
        monkeypatch.setattr(prompt_selection, "permutations", order)


def make(count, settings, batch_size=Q, first_steps=None, seed=0):
    prompts = [EncodedPrompt(3 * i, [i]) for i in range(count)]  # Some problems have no prompt.
    return make_questions(prompts, first_steps or [1] * count, batch_size, seed, settings)


def ids(asked):
    return [prompt.index // 3 for prompt in asked]


def answer(asked, step, rates_N):
    """How many of G completions of each question a learner of these rates gets right, whoever else is asked."""
    return np.random.default_rng((7, step)).binomial(G, rates_N)[ids(asked)]


def train(questions, rates_N, steps, first=1):
    """The drawn ids [T, Q] and passes [T, Q]."""
    drawn, passed = [], []
    for step in range(first, first + steps):
        asked = questions.draw(step)
        assert len(set(ids(asked))) == len(asked)
        drawn.append(ids(asked))
        passed.append(answer(asked, step, rates_N))
        questions.tell(step, asked, passed[-1], G)
    return np.array(drawn), np.array(passed)


def differing(passed):
    return ((passed > 0) & (passed < G)).mean()


HALF = np.array([0.0, 0.5, 1.0, 0.5] * 80)
"""Half of the questions teach nothing; of the others all but 2⁻⁷ of the groups of 8 differ."""


@pytest.mark.parametrize(
    "settings, expected",
    [
        (Prompts(), 0.5),
        # A tenth falls on all alike, half of it on the half that teaches.
        (Prompts(select="weights"), 0.95),
        (Prompts(select="weights", floor=0.4), 0.8),
        (Prompts(select="drop", drop_after=8, drop_steps=1000), 1.0),
        (Prompts(select="buckets", edges=(0.01, 0.99), floor=0.0, shares=((0, (0.25, 0.5, 0.25)),)), 0.5),
        (Prompts(select="buckets", edges=(0.01, 0.99), floor=0.0, shares=((0, (0.1, 0.8, 0.1)),)), 0.8),
    ],
    ids=str,
)
def test_groups_whose_rewards_differ(settings, expected):
    questions = make(len(HALF), settings)
    drawn, passed = train(questions, HALF, 20)
    assert sorted(drawn.reshape(-1)) == list(range(len(HALF)))  # All are measured once, and once only, first.
    assert differing(passed) == pytest.approx(0.5 * (1 - 2 ** (1 - G)), abs=0.02)
    _, passed = train(questions, HALF, 100, first=21)
    assert differing(passed) == pytest.approx(expected * (1 - 2 ** (1 - G)), abs=0.03)


def test_weights_are_p_times_1_minus_p_above_a_floor():
    passes_N = np.arange(72) % 9  # All rates that 8 completions can have.
    questions = make(72, Prompts(select="weights", floor=0.2), batch_size=9)
    for step in range(1, 9):
        asked = questions.draw(step)
        questions.tell(step, asked, passes_N[ids(asked)], G)
    counts_N = np.bincount(np.concatenate([ids(questions.draw(step)) for step in range(9, 2009)]), minlength=72)
    rates_N = passes_N / 8
    expected_N = 9 * (0.8 * rates_N * (1 - rates_N) / (rates_N * (1 - rates_N)).sum() + 0.2 / 72)
    # Each draw has a question or has it not: 5 standard deviations of 2,000 such draws.
    np.testing.assert_allclose(counts_N / 2000, expected_N, rtol=0, atol=5 * 0.5 / np.sqrt(2000))
    of_rates = counts_N.reshape(8, 9).sum(axis=0)
    np.testing.assert_allclose(of_rates / 2000, expected_N.reshape(8, 9).sum(axis=0), rtol=0, atol=0.05)


SPREAD = np.repeat([0.0, 0.3, 0.6, 1.0], 100)


def passes_of(asked):
    """Exactly the rates of `SPREAD`, to an eighth."""
    return np.round(SPREAD[ids(asked)] * G).astype(int)


def test_a_curriculum_from_easy_to_hard():
    stages = ((0, (0.0, 0.0, 0.25, 0.75)), (50, (0.25, 0.25, 0.25, 0.25)), (80, (0.625, 0.375, 0.0, 0.0)))
    questions = make(400, Prompts(select="buckets", floor=0.0, shares=stages))
    for step in range(1, 101):
        asked = questions.draw(step)
        metrics = questions.tell(step, asked, passes_of(asked), G)
        counts = np.bincount(np.array(ids(asked)) // 100, minlength=4)
        if step <= 25:
            assert metrics["prompts/unmeasured"] == 1 and metrics["prompts/measured"] == 16 * step
            assert "prompts/rate" not in metrics
            continue
        shares = [0, 0, 4, 12] if step < 50 else [4, 4, 4, 4] if step < 80 else [10, 6, 0, 0]
        assert counts.tolist() == shares
        assert [16 * metrics[f"prompts/bucket_{bucket}"] for bucket in range(4)] == shares
        known = np.round(SPREAD[ids(asked)] * G) / G
        assert metrics["prompts/rate"] == pytest.approx(known.mean())
        assert metrics["prompts/unmeasured"] == 0 and metrics["prompts/measured"] == 400


def test_what_a_bucket_cannot_give_the_others_do():
    questions = make(64, Prompts(select="buckets", edges=(0.5,), floor=0.0, shares=((0, (0.75, 0.25)),)))
    few_are_hard = np.array([0] * 5 + [8] * 59)
    for step in range(1, 30):
        asked = questions.draw(step)
        questions.tell(step, asked, few_are_hard[ids(asked)], G)
        if step > 4:
            assert sum(q < 5 for q in ids(asked)) == 5 and len(asked) == 16
    questions = make(64, Prompts(select="buckets", edges=(0.5,), floor=0.0, shares=((0, (1.0, 0.0)),)))
    for step in range(1, 30):
        asked = questions.draw(step)
        questions.tell(step, asked, np.full(16, 8), G)
        assert len(set(ids(asked))) == 16


@pytest.mark.parametrize("mode", ["weights", "buckets"])
def test_only_a_share_of_a_draw_is_for_what_was_never_asked(mode):
    settings = {"weights": Prompts(select="weights", unmeasured=0.25)}
    settings["buckets"] = Prompts(select="buckets", unmeasured=0.25, shares=MODES["buckets"].shares)
    questions, never = make(160, settings[mode]), set(range(160))
    for step in range(1, 60):
        asked = ids(questions.draw(step))
        new = [q for q in asked if q in never]
        assert len(new) == (16 if step == 1 else min(4, len(never)))
        never -= {*new}
        questions.tell(step, [EncodedPrompt(3 * q, []) for q in asked], np.full(16, 4), G)
    assert not never


@pytest.mark.parametrize("mode", MODES)
def test_no_question_is_lost_for_ever(mode):
    """Each comes again, and what has become solvable is found out."""
    rates_N = np.array([0.0] * 30 + [1.0] * 30 + [0.5] * 20)
    questions = make(80, MODES[mode])
    drawn, _ = train(questions, rates_N, 200)
    for part in (drawn[:100], drawn[100:]):
        assert set(part.reshape(-1)) == set(range(80))
    before = np.isin(drawn[100:], range(30)).mean()
    rates_N[:30] = 0.5
    drawn, _ = train(questions, rates_N, 100, first=201)
    assert before < 0.25 and np.isin(drawn[50:], range(30)).mean() > 1.5 * before


def test_a_dropped_question_rests_for_so_many_steps():
    rates_N = np.array([0.0] * 40 + [1.0] * 24 + [0.5] * 96)
    questions = make(160, Prompts(select="drop", drop_after=16, drop_steps=30))
    last, same, dropped = np.zeros(160, int), np.zeros(160, int), []
    for step in range(1, 300):
        asked = questions.draw(step)
        passes = answer(asked, step, rates_N)
        metrics = questions.tell(step, asked, passes, G)
        for q, passed in zip(ids(asked), passes, strict=True):
            assert same[q] < 2 or step > last[q] + 30, (q, step)
            alike = passed in (0, G)
            same[q], last[q] = (same[q] + 1 if alike else 0), step
        # Of a group of 8 at 1/2 in 128 all are alike; that two are in a row, and of both kinds, does not come up here.
        dropped.append(((same >= 2) & (last + 30 > step)).sum())
        assert metrics["prompts/dropped"] == dropped[-1]
    assert max(dropped) >= 60 and len(set(dropped[100:])) > 5


def test_what_nobody_judges_is_not_dropped():
    questions = make(64, Prompts(select="drop", drop_after=8, drop_steps=1000))
    for step in range(1, 20):
        asked = questions.draw(step)
        passes = np.where(np.array(ids(asked)) < 32, np.nan, 8)
        metrics = questions.tell(step, asked, passes, G)
        assert step <= 4 or set(ids(asked)) <= set(range(32))
    assert metrics["prompts/measured"] == metrics["prompts/dropped"] == 32


def test_where_all_are_dropped_those_whose_turn_comes_first_are_asked():
    questions = make(20, Prompts(select="drop", drop_after=8, drop_steps=1000), batch_size=4)
    order = train(questions, np.zeros(20), 5)[0]
    np.testing.assert_array_equal(np.sort(train(questions, np.zeros(20), 5, first=6)[0]), np.sort(order))


def test_without_selection_the_order_is_that_of_the_iterator():
    prompts = [EncodedPrompt(i, [i]) for i in range(50)]
    questions, iterator = make_questions(prompts, [1] * 50, 8, 3, Prompts()), prompt_iterator(prompts, 8, 3)
    for step in range(1, 20):
        asked = questions.draw(step)
        assert asked == next(iterator)
        assert questions.tell(step, asked, np.zeros(8, int), G) == {}
        assert questions.get_state() == iterator.get_state()
    other = make_questions(prompts, [1] * 50, 8, 3, Prompts())
    other.set_state(iterator.get_state())
    assert other.draw(20) == next(iterator)


@pytest.mark.parametrize("mode", MODES)
def test_what_is_not_selected_comes_in_the_same_order(mode):
    iterator, questions = prompt_iterator(range(64), Q, 5), make(64, MODES[mode], seed=5)
    epochs = 4 if mode == "drop" else 1  # Where none is dropped; the others go by what was measured then.
    for step in range(1, 4 * epochs + 1):
        asked = questions.draw(step)
        assert ids(asked) == next(iterator)
        questions.tell(step, asked, np.full(Q, 4), G)


@pytest.mark.parametrize("settings", [Prompts(), *MODES.values()], ids=["none", *MODES])
def test_a_data_set_that_joins_late(settings):
    late = 40
    first_steps = [1] * late + [11] * 40
    questions = make(80, settings, batch_size=8, first_steps=first_steps)
    before, _ = train(questions, np.full(80, 0.5), 10)
    assert set(before.reshape(-1)) == set(range(late))
    after, _ = train(questions, np.full(80, 0.5), 15, first=11)
    assert set(after.reshape(-1)) >= set(range(late, 80))
    with pytest.raises(UsageError, match="batch_size / group_size=41 problems a step: 40 of the 80"):
        make(80, settings, batch_size=41, first_steps=first_steps)


@pytest.mark.parametrize("settings", [Prompts(), *MODES.values()], ids=["none", *MODES])
@pytest.mark.parametrize("ahead", [False, True])
def test_a_run_that_is_resumed_draws_what_it_would_have_drawn(settings, ahead):
    """Also where a step's questions are drawn before it is known how those of the step before went."""
    rates_N = np.random.default_rng(0).random(90)
    first_steps = [1] * 70 + [20] * 20

    def go_on(questions, first, last, pending):
        drawn = []
        for step in range(first, last + 1):
            asked = pending or questions.draw(step)
            pending = questions.draw(step + 1) if ahead else None
            more = [] if ahead else questions.draw(step, 1)
            drawn += [ids(asked), ids(more)]
            questions.tell(step, [*asked, *more], answer([*asked, *more], step, rates_N), G)
        return drawn, pending

    whole = make(90, settings, first_steps=first_steps)
    expected, _ = go_on(whole, 1, 40, None)
    for stop in (1, 4, 23):
        first = make(90, settings, first_steps=first_steps)
        begun, pending = go_on(first, 1, stop, None)
        state = json.loads(json.dumps(first.get_state(), allow_nan=False))
        go_on(first, stop + 1, stop + 2, pending)
        second = make(90, settings, first_steps=first_steps)
        go_on(second, 1, 3, None)  # What it knew is given up.
        second.set_state(state)
        assert begun + go_on(second, stop + 1, 40, pending)[0] == expected


def test_the_draws_of_a_step_differ_and_depend_on_the_seed():
    drawn = {}
    for seed in (0, 1):
        questions = make(160, MODES["weights"], seed=seed)
        train(questions, np.full(160, 0.5), 10)
        drawn[seed] = [ids(questions.draw(11, number)) for number in range(10)]
        assert sorted(sum(drawn[seed], [])) == list(range(160))
        assert len(set(ids(questions.draw(11, 10)))) == Q  # None is left that the step has not asked.
    assert drawn[0] != drawn[1]


def test_a_pass_rate_forgets():
    questions = make(2, Prompts(select="weights", memory=0.75), batch_size=2)
    seen = []
    for step, passes in enumerate([8, 0, 4], start=1):
        asked = questions.draw(step)
        seen.append(questions.tell(step, asked, np.full(2, passes), G))
    assert [metrics.get("prompts/rate") for metrics in seen] == [None, 1.0, 0.75]
    assert questions.get_state()["rate"] == [0.75 * 0.75 + 0.25 * 0.5] * 2


def test_the_state_of_other_questions_is_refused():
    state = make(80, MODES["drop"]).get_state()
    with pytest.raises(RunError, match="has 79 problems with a prompt; expected the 80"):
        make(79, MODES["drop"]).set_state(state)


@pytest.mark.parametrize(
    "weights, count, expected",
    [
        ([1, 1, 1, 1], 2, [0.5, 0.5, 0.5, 0.5]),
        ([4, 3, 2, 1], 1, [0.4, 0.3, 0.2, 0.1]),
        ([9, 1, 1, 1], 2, [1, 1 / 3, 1 / 3, 1 / 3]),
        ([20, 6, 1, 1], 3, [1, 1, 0.5, 0.5]),
        ([3, 1, 0, 0], 3, [1, 1, 0, 0]),
        ([0, 0, 5, 5], 2, [0, 0, 1, 1]),
        ([1, 2, 3], 0, [0, 0, 0]),
    ],
)
def test_systematic_draws_have_the_probabilities_that_were_asked_for(weights, count, expected):
    weights, rng = np.array(weights, float), np.random.default_rng(0)
    drawn = [systematic(weights, count, np.arange(len(weights)) % 2, rng) for _ in range(2000)]
    assert all(len(set(one.tolist())) == len(one) == min(count, (weights > 0).sum()) for one in drawn)
    counts = np.bincount(np.concatenate(drawn), minlength=len(weights))
    np.testing.assert_allclose(counts / 2000, expected, rtol=0, atol=0.05)


def test_systematic_draws_are_different_whatever_the_weights():
    rng = np.random.default_rng(0)
    for _ in range(500):
        size = int(rng.integers(1, 300))
        count = int(rng.integers(0, size + 1))
        weights = rng.random(size) ** rng.integers(0, 40)
        drawn = systematic(weights, count, rng.integers(0, 3, size), rng)
        assert len(set(drawn.tolist())) == len(drawn) == count
