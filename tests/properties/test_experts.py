"""A mixture of experts on a mesh, and how tokens are routed."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rl_reason import settings
from rl_reason.models import decoder, weights
from rl_reason.models import experts as experts_module
from rl_reason.models.config import Experts
from rl_reason.models.experts import balance, route
from rl_reason.models.families import from_shape
from rl_reason.models.logprobs import token_logprobs
from rl_reason.parallel.mesh import DECODING, make_constrain, make_mesh, replicated, sharding
from rl_reason.recipes.optimizer import init_state, state_shardings
from rl_reason.recipes.policy_update import make_update
from rl_reason.sampling.sampler import make_sampler

SIZES = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.4,
    "moe_intermediate_size": 12,
    "num_experts_per_tok": 3,
}
SHAPES = {
    "qwen3_moe": SIZES | {"head_dim": 4, "num_experts": 8, "norm_topk_prob": True},
    "deepseek_v3": SIZES
    | {"n_routed_experts": 8, "n_group": 4, "topk_group": 2, "n_shared_experts": 1, "first_k_dense_replace": 1}
    | {"q_lora_rank": 6, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 4}
    | {"num_key_value_heads": 4},
}
MESHES = [
    {"data": 1, "expert": 8},
    {"data": 2, "expert": 4},
    {"data": 1, "fsdp": 2, "expert": 2, "tensor": 2},
    {"data": 2, "fsdp": 2, "tensor": 2},
    {"data": 1, "sequence": 2, "expert": 4},
    {"data": 1, "slice": 2, "sequence": 2, "expert": 2},
]
ROWS, LENGTH = 8, 6


def make(family):
    config = from_shape({"model_type": family, **SHAPES[family]}, vocab_size=32)
    return config, jax.jit(lambda key: weights.initialize(config, key))(jax.random.key(0))


def place(config, params, sizes):
    mesh = make_mesh(settings.Mesh(**sizes), jax.devices()[: np.prod(list(sizes.values()))])
    table = weights.table(config)
    places = weights.tree({path: sharding(mesh, weight.axes, weight.shape) for path, weight in table.items()})
    return jax.device_put(params, places), mesh


def loss_and_gradient(config, params, constrain):
    tokens = np.random.default_rng(0).integers(0, 32, (ROWS, LENGTH))

    def loss(params):
        hidden, _ = decoder.forward(params, tokens, np.ones_like(tokens), config, "layer", constrain)
        head = decoder.head_weights(params)
        return token_logprobs(hidden[:, :-1], head, tokens[:, 1:], constrain=constrain)[0].sum()

    return jax.jit(jax.value_and_grad(loss))(params)


@pytest.mark.parametrize("sizes", MESHES, ids=str)
@pytest.mark.parametrize("family", SHAPES)
def test_gradient_does_not_depend_on_the_mesh(family, sizes):
    config, params = make(family)
    expected, expected_gradient = loss_and_gradient(config, params, decoder.no_constraint)
    placed, mesh = place(config, params, sizes)
    if sizes.get("expert", 1) > 1:
        experts = placed["layers"]["expert_gate"]
        assert experts.addressable_shards[0].data.shape[1] == 8 // sizes["expert"]
    made, gradient = loss_and_gradient(config, placed, make_constrain(mesh))
    assert float(made) == pytest.approx(float(expected), rel=1e-5)
    for (path, mine), theirs in zip(
        jax.tree_util.tree_leaves_with_path(gradient), jax.tree.leaves(expected_gradient), strict=True
    ):
        assert np.abs(theirs).max() > 1e-3 or path[-1].key == "router_bias", path
        assert np.linalg.norm(mine - theirs) <= 1e-5 * np.linalg.norm(theirs), path


@pytest.mark.parametrize(
    ("family", "sizes", "questions"),
    [
        ("qwen3_moe", {"data": 2, "expert": 4}, 4),
        ("qwen3_moe", {"data": 1, "fsdp": 2, "expert": 4}, 8),
        ("qwen3_moe", {"data": 1, "sequence": 2, "expert": 4}, 8),
        ("qwen3_moe", {"data": 1, "fsdp": 2, "expert": 4}, 3),
        ("deepseek_v3", {"data": 1, "fsdp": 2, "expert": 2, "tensor": 2}, 8),
    ],
    ids=str,
)
def test_greedy_samples_do_not_depend_on_the_mesh(family, sizes, questions):
    config, params = make(family)
    tokens = np.random.default_rng(1).integers(2, 32, (questions, 5)).astype(np.int32)

    def sample(params, **placing):
        options = {"group_size": 1, "max_length": 8, "stop_ids": (1,), "pad_id": 0, "temperature": 0.0}
        sampler = make_sampler(config, **options, **placing)
        return np.asarray(sampler(params, tokens, tokens > 0, np.arange(questions), jax.random.key(0)).tokens)

    expected = sample(params)
    assert len(np.unique(expected)) > 4
    placed, mesh = place(config, params, sizes)
    made = sample(placed, constrain=make_constrain(mesh), decoding=make_constrain(mesh, DECODING))
    np.testing.assert_array_equal(made, expected)


def numpy_route(logits, bias, e):
    """Written from the papers, token by token."""
    chosen, made = [], []
    for row in np.asarray(logits, np.float64):
        scores = 1 / (1 + np.exp(-row)) if e.score == "sigmoid" else np.exp(row) / np.exp(row).sum()
        choice = scores + (0 if bias is None else bias)
        groups = np.array_split(np.arange(e.count), e.groups)
        worth = [np.sort(choice[g])[-2:].sum() if e.score == "sigmoid" else choice[g].max() for g in groups]
        allowed = np.concatenate([groups[g] for g in np.argsort(worth)[::-1][: e.kept_groups]])
        ids = allowed[np.argsort(choice[allowed])[::-1][: e.per_token]]
        weight = scores[ids] / scores[ids].sum() if e.normalize else scores[ids]
        chosen.append(ids)
        made.append(weight * e.scale)
    return np.array(made), np.array(chosen)


@pytest.mark.parametrize(
    "experts",
    [
        Experts(8, 2, 4),
        Experts(8, 3, 4, normalize=False, scale=1.5),
        Experts(12, 3, 4, groups=4, kept_groups=2, normalize=False),
        Experts(12, 4, 4, score="sigmoid", groups=3, kept_groups=2, scale=2.5),
    ],
)
def test_routing(experts):
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 2, (50, experts.count)).astype(np.float32)
    bias = rng.normal(0, 0.3, experts.count).astype(np.float32) if experts.score == "sigmoid" else None
    made, chosen = route(jnp.asarray(logits), None if bias is None else jnp.asarray(bias), experts)
    expected, ids = numpy_route(logits, bias, experts)
    np.testing.assert_array_equal(chosen, ids)
    np.testing.assert_allclose(made, expected, rtol=1e-5)


@pytest.mark.parametrize("sizes", [None, {"data": 2, "expert": 4}], ids=str)
@pytest.mark.parametrize("family", SHAPES)
def test_loads_count_what_the_router_of_each_layer_chose(family, sizes):
    """Padding is not counted: the loads of padded rows are those of the same tokens without padding."""
    config, params = make(family)
    rng = np.random.default_rng(5)
    tokens = rng.integers(1, 32, (ROWS, LENGTH))
    segments = (np.arange(LENGTH) < rng.integers(2, LENGTH, ROWS)[:, None]).astype(np.int32)
    expected = np.zeros((len(config.stacks[-1][1]), 8))
    for row, n in zip(tokens, segments.sum(axis=1), strict=True):
        expected += np.asarray(decoder.forward(params, row[None, :n], np.ones((1, n), int), config)[1])
    placed, constrain = params, decoder.no_constraint
    if sizes is not None:
        placed, mesh = place(config, params, sizes)
        constrain = make_constrain(mesh)
    made = jax.jit(lambda p: decoder.forward(p, tokens, segments, config, "layer", constrain)[1])(placed)
    np.testing.assert_array_equal(made, expected)
    assert made.sum() == segments.sum() * 3 * len(expected)

    # The first of these layers sees what a single-layer model sees: its router can be followed by hand.
    if family == "qwen3_moe":
        seen = []
        choose = experts_module.route
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(experts_module, "route", lambda *args: seen.append(choose(*args)) or seen[-1])
            with jax.disable_jit():
                decoder.forward(params, tokens[:1, :2], np.ones((1, 2), int), config)
        counts = [np.bincount(np.asarray(chosen).ravel(), minlength=8) for _, chosen in seen]
        made = decoder.forward(params, tokens[:1, :2], np.ones((1, 2), int), config)[1]
        np.testing.assert_array_equal(made, counts)


def test_an_update_reports_the_balance_whatever_its_micro_batches(describe):
    config, params = make("qwen3_moe")
    model = dataclasses.replace(describe(), config=config)
    rng = np.random.default_rng(6)
    lengths = np.arange(ROWS) % LENGTH + 1
    mask = (np.arange(LENGTH) < lengths[:, None]).astype(np.float32)
    batch = {
        "tokens": rng.integers(1, 32, (ROWS, 2 + LENGTH)).astype(np.int32),
        "questions": np.arange(ROWS),
        "segments": np.concatenate([np.ones((ROWS, 2)), mask], axis=1).astype(np.int32),
        "mask": mask,
        "weights": mask,
        "sampler_logprobs": -mask,
        "advantages": rng.normal(size=ROWS).astype(np.float32),
    }
    # Prompts do not count: they are computed as often as it suits.
    whole, prompts = (
        decoder.forward(params, batch["tokens"][:, :n], batch["segments"][:, :n], config)[1] for n in (2 + LENGTH, 2)
    )
    expected = balance(whole - prompts)
    assert expected["experts/violation/mean"] > 0
    optimizer = optax.sgd(1.0)
    places = state_shardings(model.trained(), optimizer, replicated(model.mesh))
    for micro_batch in (0, 2):
        update = make_update(model, settings.Algorithm(kl_coef=0.0), optimizer, 1.0, places, micro_batch)
        state = init_state(jax.tree.map(jnp.array, params), optimizer)
        _, metrics = update(state, batch, 8.0)
        for name, value in expected.items():
            assert float(metrics[name]) == pytest.approx(float(value)), (name, micro_batch)


def test_balance():
    made = balance(jnp.array([[4.0, 4, 4, 4], [8.0, 4, 4, 0], [1.0, 15, 0, 0]]))
    expected = {"experts/violation/mean": (0 + 1 + 2.75) / 3, "experts/violation/max": 2.75, "experts/idle": 3 / 12}
    assert made.keys() == expected.keys()
    for name, value in expected.items():
        assert float(made[name]) == pytest.approx(value), name
