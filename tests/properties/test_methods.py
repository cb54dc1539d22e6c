"""The unified view: for each method the gradient that its recipe computes is Σ w · GC · ∇log π, row by row.

The left side is the recipe's own: packed rows, shared prompts, pieces, jitted. The right side is one completion a row,
a plain softmax, and the table's coefficient."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rl_reason import settings
from rl_reason.data.iterators import EncodedPrompt
from rl_reason.data.preferences import Pair
from rl_reason.data.selection import select
from rl_reason.data.supervised import Example, Examples, make_batches
from rl_reason.models import decoder
from rl_reason.objectives.methods import METHODS
from rl_reason.parallel.mesh import replicated
from rl_reason.recipes.completions import lay, make_score, place
from rl_reason.recipes.critic import advantages_by_critic
from rl_reason.recipes.evaluation import Samples
from rl_reason.recipes.layout import make_pieces
from rl_reason.recipes.optimizer import init_state, state_shardings
from rl_reason.recipes.policy_update import make_update
from rl_reason.recipes.preference import make_pair_batch
from rl_reason.recipes.preference import make_update as make_preference_update
from rl_reason.recipes.rollout import advantages, make_batch, weigh
from rl_reason.recipes.supervised import make_supervised_step

GROUP, PROMPT, COMPLETION = 4, 5, 8
BETA = 0.3
PLAIN = optax.sgd(1.0)


def algorithm_of(name, **changes):
    method = METHODS[name]
    base = settings.Algorithm(group_size=GROUP, kl_coef=BETA, reduction=method.reduction)
    return dataclasses.replace(base, **{**method.settings, **changes})


def rollout(seed):
    """Three questions of four completions, of 1 to 8 tokens."""
    rng = np.random.default_rng(seed)
    prompts = [EncodedPrompt(i, rng.integers(2, 32, rng.integers(1, PROMPT + 1)).tolist()) for i in range(3)]
    lengths = rng.integers(1, COMPLETION + 1, 3 * GROUP).astype(np.int32)
    tokens = rng.integers(2, 32, (3 * GROUP, COMPLETION)).astype(np.int32)
    samples = Samples(tokens, np.zeros(tokens.shape, np.float32), lengths, lengths < COMPLETION)
    return make_batch(prompts, samples, GROUP, PROMPT, 0), rng


def step_rewards(batch, rng):
    """A step ends at a completion's last token, and at some of the others."""
    is_last = np.arange(COMPLETION)[None] == batch["mask"].sum(axis=1)[:, None] - 1
    ends = ((rng.random(is_last.shape) < 0.3) | is_last) * batch["mask"]
    return (rng.random(ends.shape) * ends).astype(np.float32), ends


def plain_logprobs(params, config, batch):
    """One completion a row, and a softmax over the vocabulary."""
    hidden, _ = decoder.forward(params, batch["tokens"], batch["segments"] > 0, config)
    logprobs = jax.nn.log_softmax(decoder.logits(params, hidden, config)[:, :-1], axis=-1)
    made = jnp.take_along_axis(logprobs, batch["tokens"][:, 1:, None], axis=-1)[..., 0]
    return made[:, PROMPT - 1 :] * batch["mask"]


def sum_of_coefficients(name, params, config, batch, tokens, beta):
    """Σ w · GC · ∇log π, of the table's row, with the weights of its reduction written out."""
    method = METHODS[name]
    mask = batch["mask"]
    count = len(mask) / 2 if method.of_pairs else len(mask)
    weights = {
        "sequence_mean": mask / mask.sum(axis=1, keepdims=True) / count,
        "sequence_sum": mask / count,
        "token_mean": mask / mask.sum(),
    }[method.reduction]
    logprobs, pull_back = jax.vjp(lambda p: plain_logprobs(p, config, batch), params)
    given = {**tokens, "mask": jnp.asarray(batch["mask"]), "logprobs": logprobs}
    coefficient = method.coefficient({k: jnp.asarray(v) for k, v in given.items()}, beta)
    return pull_back(weights * coefficient)[0]


def assert_same(gradient, expected):
    """Of a loss, and of what is to be maximized: relative to the whole gradient, and to each weight's."""
    for (path, mine), theirs in zip(
        jax.tree_util.tree_leaves_with_path(gradient), jax.tree.leaves(expected), strict=True
    ):
        error = np.linalg.norm(np.asarray(mine) + np.asarray(theirs)) / np.linalg.norm(theirs)
        assert error < 1e-5, (path, error)


def policy_gradient(model, params, batch, algorithm, micro_batch):
    """As the recipe computes it, before the optimizer."""
    places = state_shardings(model.trained(), PLAIN, replicated(model.mesh))
    state = jax.jit(lambda p: init_state(p, PLAIN), out_shardings=places)(params)
    update = make_update(model, algorithm, PLAIN, 1.0, places, micro_batch)
    batch, denominator = weigh(batch, algorithm.reduction, COMPLETION)
    layout = lay(batch, model, micro_batch)
    pieces = place(make_pieces(batch, layout), model.mesh)
    totals = update.step(batch["tokens"].shape[1]).gradients(state, pieces, jnp.int32(layout.pieces))
    return jax.tree.map(lambda g: np.asarray(g) / denominator, totals.gradients), totals.sums


@pytest.mark.parametrize("name", [name for name, m in METHODS.items() if m.recipe == "policy_gradient"])
@pytest.mark.parametrize("seed", [0, 1])
def test_policy_gradient_methods(name, seed, describe, params):
    model, algorithm = describe(), algorithm_of(name)
    batch, rng = rollout(seed)
    logprobs = make_score(model, 1.0, 0)(params, batch)
    batch["sampler_logprobs"], batch["old_logprobs"] = logprobs + 1e-3, logprobs
    batch["reference_logprobs"] = (logprobs + rng.normal(0, 0.4, logprobs.shape) * batch["mask"]).astype(np.float32)
    rewards = rng.integers(0, 2, len(logprobs)).astype(np.float32)
    if algorithm.advantage == "gae":
        run = settings.Settings(algorithm=algorithm, critic=settings.Critic("separate", gamma=0.9))
        values = rng.normal(size=(*logprobs.shape, 2)).astype(np.float32)
        made = advantages_by_critic(rewards, batch, values, rewards > 0, run)[0]["advantages"]
    else:
        made = advantages(rewards, batch, algorithm, step_rewards(batch, rng))
    batch["advantages"] = made
    if not algorithm.kl_coef or algorithm.kl_in == "reward":
        del batch["reference_logprobs"]
    tokens = {
        "rewards": rewards,
        "advantages": np.broadcast_to(made.reshape(len(made), -1), logprobs.shape),
        "reference_logprobs": batch.get("reference_logprobs", logprobs),
    }
    gradient, sums = policy_gradient(model, params, batch, algorithm, micro_batch=3)
    assert_same(gradient, sum_of_coefficients(name, params, model.config, batch, tokens, algorithm.kl_coef))
    # The ratio of the first update is 1, and nothing is clipped.
    np.testing.assert_allclose(sums["ratio/mean"] / batch["mask"].sum(), 1.0, rtol=1e-6)
    assert sums["ratio/clipped"] == 0


def start(model, params):
    places = state_shardings(model.trained(), PLAIN, replicated(model.mesh))
    return places, jax.jit(lambda p: init_state(p, PLAIN), out_shardings=places)(params)


@pytest.mark.parametrize("name, micro_batch", [("sft", 1), ("rft", 0)])
def test_supervised_methods(name, micro_batch, describe, params):
    """Of all completions, or of the right ones, in an epoch that fills one batch of packed rows."""
    model = describe()
    batch, rng = rollout(2)
    lengths = batch["mask"].sum(axis=1).astype(int)
    rewards = rng.integers(0, 2, len(lengths)) if name == "rft" else np.ones(len(lengths))
    # Of the same question none is like another.
    records = [
        {"row": i, "completion": str(batch["tokens"][i]), "reward": reward, "finish": "stop"}
        for i, reward in enumerate(rewards)
    ]
    rows = [record["row"] for record in select(records, 1.0, 0)]
    assert 0 < len(rows) and (len(rows) < len(records)) == (name == "rft")
    examples = [
        Example.of(
            batch["tokens"][i, :PROMPT][batch["segments"][i, :PROMPT] > 0].tolist(),
            batch["tokens"][i, PROMPT : PROMPT + lengths[i]].tolist(),
        )
        for i in rows
    ]
    of_examples = Examples(len(examples), lambda index, place, step: examples[index])
    # A batch takes what fits, also of the next epoch: as many rows as one epoch fills.
    tokens = sum(len(example.ids) for example in examples)
    packed, taken = make_batches(of_examples, 1, tokens, 0, METHODS[name].reduction, 0)(1, 0)
    assert taken == len(examples)
    packed = {key: np.pad(x, ((0, 1), (0, 0))) for key, x in packed.items()}
    places, state = start(model, params)
    pieces = {key: x.reshape(-1, micro_batch or 2, tokens) for key, x in packed.items()}
    step = make_supervised_step(model, PLAIN, places)
    totals = step.gradients(state, place(pieces, model.mesh), jnp.int32(len(pieces["tokens"])))
    gradient = jax.tree.map(lambda g: np.asarray(g) / packed["weights"].sum(), totals.gradients)
    of_rows = {key: x[rows] for key, x in batch.items()}
    assert_same(gradient, sum_of_coefficients(name, params, model.config, of_rows, {}, 0.0))


@pytest.mark.parametrize("name, micro_batch", [("dpo", 0), ("dpo", 1), ("dpo_mean", 3)])
def test_preference_methods(name, micro_batch, describe, params):
    """However the two completions of a pair are put into pieces."""
    model = describe()
    rng = np.random.default_rng(5)
    draw = lambda n: rng.integers(2, 32, rng.integers(1, n + 1)).tolist()  # noqa: E731
    pairs = [Pair(EncodedPrompt(i, draw(PROMPT)), draw(COMPLETION), draw(COMPLETION)) for i in range(5)]
    batch = make_pair_batch(pairs, PROMPT, COMPLETION, 0)
    reference = jax.tree.map(lambda x: (x * (1 + 0.2 * rng.normal(size=x.shape))).astype(np.float32), params)
    algorithm = settings.Algorithm(reduction=METHODS[name].reduction, batch_size=len(pairs), micro_batch=micro_batch)
    asked = settings.Settings(algorithm=algorithm, preference=settings.Preference(beta=BETA))
    places, state = start(model, params)
    update = make_preference_update(asked, model, PLAIN, places)
    coefficients, metrics = update.coefficients(params, reference, batch)
    layout = lay(batch, model, update.micro_batch)
    pieces = place(make_pieces({**batch, "coefficients": coefficients}, layout), model.mesh)
    totals = update.step(batch["tokens"].shape[1]).gradients(state, pieces, jnp.int32(layout.pieces))

    ours, theirs = (np.asarray(plain_logprobs(p, model.config, batch)) for p in (params, reference))
    rows = np.arange(len(ours))
    tokens = {"reference_logprobs": theirs, "partners": rows ^ 1, "is_chosen": (rows + 1) % 2}
    expected = sum_of_coefficients(name, params, model.config, batch, tokens, BETA)
    assert_same(totals.gradients, expected)
    assert 0 < metrics["preference/accuracy"] < 1
    np.testing.assert_allclose(metrics["logprobs/chosen"], ours.sum(axis=1)[0::2].mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["logprobs/rejected"], ours.sum(axis=1)[1::2].mean(), rtol=1e-5)
