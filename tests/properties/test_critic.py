"""What a critic's update computes, and what its gradient does not depend on: micro-batches, packing, padding, mesh."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rl_reason import settings
from rl_reason.data.iterators import EncodedPrompt
from rl_reason.models import decoder, weights
from rl_reason.parallel.mesh import replicated
from rl_reason.recipes import completions
from rl_reason.recipes.completions import completion_values, make_score, make_scoring
from rl_reason.recipes.critic import advantages_by_critic, make_critic_optimizer, make_critic_update, with_shared_critic
from rl_reason.recipes.evaluation import Samples
from rl_reason.recipes.optimizer import init_state, state_shardings
from rl_reason.recipes.policy_update import make_update
from rl_reason.recipes.rollout import make_batch, weigh
from rl_reason.recipes.setup import describe_scorer

PROMPT, COMPLETION = 6, 7
LENGTHS = np.array([7, 1, 3, 5, 2, 6, 4, 7], np.int32)
ALGORITHM = settings.Algorithm(group_size=4, advantage="gae", kl_in="reward", kl_estimator="k1", reduction="token_mean")
CRITIC = settings.Critic(kind="separate", value_clip=0.3)
SHARED = dataclasses.replace(CRITIC, kind="shared", coef=0.4)
PLAIN = optax.sgd(1.0)
"""With it the change of the weights is the gradient itself, however small."""


def weights_of(config, params):
    """Those of the policy, and a layer of scores that says something."""
    score = np.random.default_rng(5).normal(0, 0.5, (1, config.hidden_size)).astype(np.float32)
    kept = {path[0] for path in weights.table(config)}
    return {name: x for name, x in params.items() if name in kept} | {"score": score}


def make_rollout(prompt_length=PROMPT, completion_length=COMPLETION):
    rng = np.random.default_rng(0)
    prompts = [EncodedPrompt(0, [3, 8, 2, 30]), EncodedPrompt(1, [11, 7])]
    tokens = np.zeros((len(LENGTHS), completion_length), np.int32)
    for row, n in enumerate(LENGTHS):
        tokens[row, :n] = rng.integers(2, 32, n)
    samples = Samples(tokens, np.zeros(tokens.shape, np.float32), LENGTHS, LENGTHS < 7)
    return make_batch(prompts, samples, ALGORITHM.group_size, prompt_length, 0)


def plain_states(params, config, batch):
    """Final hidden states of one completion a row, prompts computed again for each."""
    return decoder.forward(params, batch["tokens"], batch["segments"] > 0, config)[0]


def plain_values(params, config, batch):
    hidden = plain_states(params, config, batch)
    start = batch["tokens"].shape[1] - batch["mask"].shape[1]
    return decoder.scores(params, hidden[:, start - 1 : -1]) * batch["mask"]


@pytest.fixture(scope="module")
def critic(describe, params):
    model = describe_scorer(describe())
    return model, weights_of(model.config, params)


@pytest.fixture(scope="module")
def learned(critic):
    """The rollout with old values near the critic's: some losses are clipped, most are not."""
    model, params = critic
    batch, rng = make_rollout(), np.random.default_rng(1)
    values = np.asarray(plain_values(params, model.config, batch))
    noise = rng.normal(0, 0.3, (2, *values.shape)).astype(np.float32)
    batch |= {"old_values": (values + noise[0]) * batch["mask"], "returns": (values + 2 * noise[1]) * batch["mask"]}
    batch["advantages"] = rng.normal(size=values.shape).astype(np.float32) * batch["mask"]
    return weigh(batch, "token_mean", COMPLETION)


COMPILED = {}


def change_of(kind, model, params, rollout, micro_batch=0):
    """What plain gradient descent changes, and the metrics, of the update of a "critic", a "policy" or "both"."""
    places = state_shardings(model.trained(), PLAIN, replicated(model.mesh))
    key = (kind, model.config.heads, tuple(model.mesh.shape.items()), micro_batch, completions.shares_prompts(model))
    if key not in COMPILED:
        if kind == "critic":
            COMPILED[key] = make_critic_update(model, CRITIC, PLAIN, places, micro_batch)
        else:
            shared = SHARED if kind == "both" else None
            COMPILED[key] = make_update(model, ALGORITHM, PLAIN, 1.0, places, micro_batch, shared)
    state = jax.jit(lambda p: init_state(p, PLAIN), out_shardings=places)(jax.device_put(params, model.shardings()))
    state, metrics = COMPILED[key](state, *rollout)
    return jax.tree.map(lambda new, old: np.asarray(new) - old, state.params, params), jax.device_get(metrics)


def assert_close(made, expected):
    for (path, mine), theirs in zip(
        jax.tree_util.tree_leaves_with_path(made[0]), jax.tree.leaves(expected[0]), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6, err_msg=str(path))
    assert made[1].keys() == expected[1].keys()
    for name, value in made[1].items():
        np.testing.assert_allclose(value, expected[1][name], rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.fixture(scope="module")
def expected(critic, learned):
    made = change_of("critic", *critic, learned)
    assert min(np.abs(leaf).max() for leaf in jax.tree.leaves(made[0])) > 1e-5
    return made


def test_values_are_those_before_each_token_and_behind_the_last(critic):
    model, params = critic
    batch = make_rollout()
    made = make_scoring(model, completion_values, 3)(params, batch)
    hidden = plain_states(params, model.config, batch)
    assert made.shape == (len(LENGTHS), COMPLETION, 2)
    for row, n in enumerate(LENGTHS):
        scores = np.asarray(hidden[row, PROMPT - 1 : PROMPT + n] @ params["score"][0])
        np.testing.assert_allclose(made[row, :n, 0], scores[:-1], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(made[row, :n, 1], scores[1:], rtol=1e-4, atol=1e-5)


def test_the_gradient_is_that_of_the_loss_written_out(critic, learned, expected):
    """Σ over tokens of ½ max((V − R)², (V_old + clip(V − V_old) − R)²) over their number, one completion a row."""
    (model, params), (batch, denominator) = critic, learned

    def loss(params):
        values = plain_values(params, model.config, batch)
        old, returns, mask = batch["old_values"], batch["returns"], batch["mask"]
        moved = old + jnp.minimum(jnp.maximum(values - old, -CRITIC.value_clip), CRITIC.value_clip)
        worse = jnp.maximum((values - returns) ** 2, (moved - returns) ** 2)
        return jnp.sum(worse * mask) / 2 / LENGTHS.sum()

    value, gradient = jax.value_and_grad(loss)(params)
    change, metrics = expected
    for (path, mine), theirs in zip(
        jax.tree_util.tree_leaves_with_path(change), jax.tree.leaves(gradient), strict=True
    ):
        np.testing.assert_allclose(mine, -theirs, rtol=1e-4, atol=1e-6, err_msg=str(path))
    assert denominator == metrics["tokens/update"] == LENGTHS.sum()
    np.testing.assert_allclose(metrics["critic/loss"], value, rtol=1e-5)
    np.testing.assert_allclose(metrics["critic/grad_norm"], optax.tree.norm(gradient), rtol=1e-4)
    assert 0.05 < metrics["critic/clipped"] < 0.9


@pytest.mark.parametrize("micro_batch", [3])
def test_micro_batches(micro_batch, critic, learned, expected):
    assert_close(change_of("critic", *critic, learned, micro_batch), expected)


def test_rows_that_hold_their_prompts_themselves(critic, learned, expected, monkeypatch):
    monkeypatch.setattr(completions, "shares_prompts", lambda model: False)
    assert_close(change_of("critic", *critic, learned), expected)


def test_padding(critic, learned, expected):
    """Longer arrays that hold the same tokens."""
    wide = make_rollout(PROMPT + 3, COMPLETION + 4)
    for name in ("old_values", "returns", "advantages"):
        wide[name] = np.pad(learned[0][name], ((0, 0), (0, 4)), constant_values=5.0)
    assert_close(change_of("critic", *critic, weigh(wide, "token_mean", COMPLETION)), expected)


def test_mesh(describe, critic, learned, expected):
    model = describe_scorer(describe(data=2, fsdp=2, tensor=2))
    assert_close(change_of("critic", model, critic[1], learned), expected)


@pytest.fixture(scope="module")
def shared(describe, params):
    model = with_shared_critic(describe(), settings.Settings(critic=SHARED))
    assert set(model.config.heads) == {"vocabulary", "score"}
    return model, weights_of(model.config, params)


@pytest.fixture(scope="module")
def value_part(shared, learned):
    """What the critic's loss alone changes in the weights of both."""
    return change_of("critic", *shared, learned)


def test_a_shared_layer_adds_its_loss_to_the_policys(shared, learned, value_part):
    made, metrics = change_of("both", *shared, learned)
    policy, _ = change_of("policy", *shared, learned)
    alone, told = value_part
    for (path, mine), p, c in zip(
        jax.tree_util.tree_leaves_with_path(made), jax.tree.leaves(policy), jax.tree.leaves(alone), strict=True
    ):
        np.testing.assert_allclose(mine, p + SHARED.coef * c, rtol=1e-4, atol=1e-6, err_msg=str(path))
    assert np.abs(alone["layers"]["query"]).max() > 1e-4 and not alone["head"].any() and not policy["score"].any()
    for name in ("critic/loss", "critic/clipped"):
        np.testing.assert_allclose(metrics[name], told[name], rtol=1e-5)


def test_a_shared_layer_on_a_mesh_in_pieces(shared, describe, learned):
    model = with_shared_critic(describe(data=2, fsdp=2, tensor=2), settings.Settings(critic=SHARED))
    assert_close(change_of("both", model, shared[1], learned, micro_batch=4), change_of("both", *shared, learned))


def test_completions_without_an_advantage_still_teach_a_shared_critic(shared, learned, value_part):
    batch, denominator = learned
    none = {**batch, "advantages": np.zeros_like(batch["advantages"])}
    change, metrics = change_of("both", *shared, (none, denominator))
    assert metrics["tokens/update"] == LENGTHS.sum()
    for mine, theirs in zip(jax.tree.leaves(change), jax.tree.leaves(value_part[0]), strict=True):
        np.testing.assert_allclose(mine, SHARED.coef * theirs, rtol=1e-4, atol=1e-6)


def test_the_first_update_clips_nothing(describe, shared):
    """Values and log-probabilities are what they were at sampling, within the rounding of two programs."""
    model, weights = shared
    batch = make_rollout()
    batch["sampler_logprobs"] = batch["reference_logprobs"] = make_score(model, 1.0, 0)(weights, batch)
    values = make_scoring(model, completion_values, 0)(weights, batch)
    given = settings.Settings(algorithm=ALGORITHM, critic=SHARED)
    made, _ = advantages_by_critic(np.arange(8, dtype=np.float32), batch, values, LENGTHS < 7, given)
    del batch["reference_logprobs"]
    _, metrics = change_of("both", model, weights, weigh(batch | made, "token_mean", COMPLETION))
    assert metrics["ratio/mean"] == pytest.approx(1, abs=1e-6)
    assert metrics["ratio/clipped"] == metrics["critic/clipped"] == 0
    # The loss is that of the values themselves.
    errors = np.square(made["old_values"] - made["returns"]).sum() / 2 / LENGTHS.sum()
    assert metrics["critic/loss"] == pytest.approx(errors, rel=1e-4)


def test_the_optimizer_is_the_policys_at_another_rate():
    """One update of Adam changes weights by the rate; the last of a schedule is as much smaller as the policy's."""
    algorithm = settings.Algorithm(learning_rate=1e-2, final_learning_rate=1e-3, schedule="cosine", max_grad_norm=0.0)
    optimizer = make_critic_optimizer(algorithm, settings.Critic(learning_rate=1e-4), 5)
    params, steps = {"x": jnp.ones(3)}, []
    state = optimizer.init(params)
    for _ in range(5):
        changes, state = optimizer.update({"x": jnp.full(3, 2.0)}, state, params)
        steps.append(-float(changes["x"][0]))
    np.testing.assert_allclose(steps[0], 1e-4, rtol=1e-3)
    np.testing.assert_allclose(steps[-1], 1e-5, rtol=1e-3)
