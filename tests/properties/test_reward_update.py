"""The gradient of a reward model's update: that of each completion by itself, however a batch is cut, padded, ordered
and laid out."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rl_reason.data.labelled import Judged
from rl_reason.models import decoder
from rl_reason.objectives.reward_models import classification_loss, preference_loss
from rl_reason.parallel.mesh import replicated
from rl_reason.recipes.optimizer import init_state, state_shardings
from rl_reason.recipes.reward_model import make_labelled_batch, make_reward_update

PLAIN = optax.sgd(1.0)
LENGTHS = (7, 1, 3, 5, 2, 6, 4, 7)
SHAPE, WIDE = (6, 7), (9, 12)
CUTS = [
    ("process", 4, 2, WIDE, {}),
    ("preference", 2, 1, SHAPE, {}),  # The sides of a pair in different pieces.
    ("preference", 4, 0, WIDE, {}),
    ("outcome", 2, 3, SHAPE, {"fsdp": 2}),
    ("outcome", 8, 0, SHAPE, {}),  # Hardly any share their prompt: rows hold it themselves.
]
"""Kind, questions, micro-batch, what is padded to, mesh."""


def make_items(kind, prompts):
    """Eight completions of so many questions; with steps, as a whole, or in pairs."""
    rng = np.random.default_rng(0)
    questions = [rng.integers(2, 32, n).tolist() for n in rng.integers(1, 6, prompts)]
    made = []
    for i, n in enumerate(LENGTHS):
        ends, targets = [n - 1], [float(i % 2)]
        if kind == "process":
            ends = sorted(rng.choice(n, min(n, 3), replace=False).tolist())
            targets = [[1.0, 0.0, None, 0.25][rng.integers(4)] for _ in ends]
        question = questions[(i if prompts == 8 else i // 2) % prompts]
        made.append(Judged(str(question), question, rng.integers(2, 32, n).tolist(), ends, targets))
    if kind == "preference":
        shares = (1.0, 0.75, 0.5, 0.6)
        return [
            tuple(dataclasses.replace(one, targets=[share]) for one, share in ((a, p), (b, 1 - p)))
            for a, b, p in zip(made[1::2], made[::2], shares, strict=True)
        ]
    return [(one,) for one in made]


@pytest.fixture(scope="module")
def scorer(describe):
    def make(**mesh):
        model = describe(**mesh)
        return dataclasses.replace(model, config=dataclasses.replace(model.config, heads=("score",)))

    return make


@pytest.fixture(scope="module")
def weights(params):
    made = {name: leaf for name, leaf in params.items() if name != "head"}
    return made | {"score": np.random.default_rng(5).normal(0, 0.5, (1, 16)).astype(np.float32)}


@pytest.fixture(scope="module")
def updated(scorer, weights):
    """updated(cut): what plain gradient descent changes, and the metrics; with other items of the same shapes."""
    made = {}

    def make(cut, items=None):
        kind, prompts, micro_batch, shape, mesh = cut
        key = kind, prompts, micro_batch
        if key not in made:
            model = scorer(**mesh)
            places = state_shardings(model.trained(), PLAIN, replicated(model.mesh))
            start = jax.jit(lambda p: init_state(p, PLAIN), out_shardings=places)
            made[key] = start, make_reward_update(model, kind, PLAIN, places, micro_batch)
        start, update = made[key]
        batch = make_labelled_batch(items or make_items(kind, prompts), shape, 0)
        state, metrics, values = update(start(weights), batch)
        change = jax.tree.map(lambda new, old: np.asarray(new) - old, state.params, weights)
        return change, {name: float(x) for name, x in (values | jax.device_get(metrics)).items()}

    return make


@pytest.fixture(scope="module")
def scores_of(scorer):
    """scores_of(params, items): of each completion, one a row, with nothing before its prompt: [B, T]."""
    config = scorer().config

    def make(params, items):
        flat = [one for item in items for one in item]
        tokens = np.zeros((len(flat), sum(SHAPE)), np.int32)
        for row, one in zip(tokens, flat, strict=True):
            row[: len(one.prompt_ids) + len(one.completion_ids)] = [*one.prompt_ids, *one.completion_ids]
        states = decoder.states(params, jnp.asarray(tokens), jnp.ones(tokens.shape, jnp.int32), None, config)
        starts = np.array([len(one.prompt_ids) for one in flat])
        columns = np.minimum(starts[:, None] + np.arange(SHAPE[1]), sum(SHAPE) - 1)
        return jnp.take_along_axis(decoder.scores(params, states.own), jnp.asarray(columns), axis=1)

    return make


def said_of(items):
    """(row, index, target) of each label."""
    flat = [one for item in items for one in item]
    pairs = [(b, *pair) for b, one in enumerate(flat) for pair in zip(one.ends, one.targets, strict=True)]
    return [(b, e, y) for b, e, y in pairs if y is not None]


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: f"{cut[0]} {cut[1]}")
def test_the_same_gradient(cut, updated, scores_of, weights):
    items = make_items(*cut[:2])
    rows, ends, targets = map(np.array, zip(*said_of(items), strict=True))

    def loss(params):
        said = scores_of(params, items)[rows, ends]
        if cut[0] == "preference":
            total, count = preference_loss(said[::2], said[1::2], jnp.asarray(targets[::2], jnp.float32))
        else:
            total, count = classification_loss(said, jnp.asarray(targets), jnp.ones(len(targets)))
        return total / count

    value, gradient = jax.jit(jax.value_and_grad(loss))(jax.tree.map(jnp.asarray, weights))
    change, metrics = updated(cut)
    assert metrics["loss"] == pytest.approx(float(value), rel=1e-4)
    for (path, mine), g in zip(jax.tree_util.tree_leaves_with_path(change), jax.tree.leaves(gradient), strict=True):
        np.testing.assert_allclose(mine, -np.asarray(g), rtol=1e-3, atol=2e-6, err_msg=str(path))
    assert np.abs(change["score"]).max() > 1e-3


def test_metrics(updated, scores_of, weights):
    items = make_items(*CUTS[0][:2])
    _, metrics = updated(CUTS[0])
    rows, ends, targets = map(np.array, zip(*said_of(items), strict=True))
    p, right = 1 / (1 + np.exp(-np.asarray(scores_of(weights, items))[rows, ends])), targets >= 0.5
    assert metrics["accuracy"] == pytest.approx(((p >= 0.5) == right).mean())
    assert metrics["score/right"] == pytest.approx(p[right].mean(), rel=1e-4)
    assert metrics["score/wrong"] == pytest.approx(p[~right].mean(), rel=1e-4)
    assert metrics["labels/right"] == pytest.approx(right.mean())


def test_metrics_of_pairs(updated, scores_of, weights):
    items = make_items(*CUTS[1][:2])
    _, metrics = updated(CUTS[1])
    rows, ends, _ = map(np.array, zip(*said_of(items), strict=True))
    lasts = np.asarray(scores_of(weights, items))[rows, ends].reshape(-1, 2)
    # The label of the third one says nothing.
    is_hit = lasts[:, 0] > lasts[:, 1]
    assert metrics["accuracy"] == (is_hit[[0, 1, 3]].sum() + 0.5) / 4
    assert metrics["margin"] == pytest.approx((lasts[:, 0] - lasts[:, 1]).mean(), rel=1e-3)


def test_labels_of_one_kind_only(updated):
    """What nothing was measured of is no number."""
    items = [(dataclasses.replace(one, targets=[1.0]),) for (one,) in make_items(*CUTS[-1][:2])]
    _, metrics = updated(CUTS[-1], items)
    assert np.isnan(metrics["score/wrong"]) and np.isfinite(metrics["score/right"]) and metrics["labels/right"] == 1
