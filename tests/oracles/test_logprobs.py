"""Chunked log-probabilities against `jax.nn.log_softmax` on whole logits, and what the compiled loss may hold."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rl_reason import settings
from rl_reason.models import decoder, weights
from rl_reason.models.families import from_shape
from rl_reason.models.logprobs import token_logprobs
from rl_reason.parallel import compiled
from rl_reason.parallel.mesh import make_constrain, make_mesh, replicated, sharding
from rl_reason.recipes.completions import lay, make_score
from rl_reason.recipes.distillation_update import make_update as make_distillation_update
from rl_reason.recipes.layout import make_pieces
from rl_reason.recipes.optimizer import init_state, state_shardings
from rl_reason.recipes.policy_update import make_update
from rl_reason.recipes.setup import Model
from rl_reason.recipes.supervised import make_supervised_step

B, T, D, V = 3, 20, 8, 53


def inputs():
    keys = jax.random.split(jax.random.key(0), 3)
    return (
        jax.random.normal(keys[0], (B, T, D)),
        jax.random.normal(keys[1], (V, D)),
        jax.random.randint(keys[2], (B, T), 0, V),
    )


def whole(hidden, head, targets, temperature):
    table = jax.nn.log_softmax(jnp.einsum("btd,vd->btv", hidden, head) / temperature, axis=-1)
    chosen = jnp.take_along_axis(table, targets[..., None], axis=-1)[..., 0]
    return chosen, -jnp.sum(jnp.exp(table) * table, axis=-1)


@pytest.mark.parametrize(("chunk", "temperature"), [(1, 1.0), (7, 1.0), (7, 0.6), (10, 0.6), (T, 1.0), (T + 5, 0.6)])
def test_values_and_gradients(chunk, temperature):
    hidden, head, targets = inputs()
    made = token_logprobs(hidden, head, targets, temperature, chunk)
    expected = whole(hidden, head, targets, temperature)
    for ours, theirs in zip(made, expected, strict=True):
        assert ours.shape == (B, T) and ours.dtype == jnp.float32
        np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=1e-5)

    # Weights that differ by place: a chunk in the wrong order would show.
    weights_2BT = jax.random.normal(jax.random.key(1), (2, B, T))

    def gradients(function):
        def weighted(hidden, head):
            return sum(jnp.sum(w * x) for w, x in zip(weights_2BT, function(hidden, head), strict=True))

        return jax.jit(jax.grad(weighted, (0, 1)))(hidden, head)

    ours = gradients(lambda h, w: token_logprobs(h, w, targets, temperature, chunk))
    theirs = gradients(lambda h, w: whole(h, w, targets, temperature))
    for mine, expected_gradient in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, expected_gradient, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "sizes",
    [{"data": 2, "fsdp": 4}, {"data": 2, "fsdp": 2, "tensor": 2}, {"data": 2, "fsdp": 2, "sequence": 2}],
    ids=str,
)
def test_on_a_mesh_the_last_layer_travels_once(sizes):
    """Gathered, and its gradient summed, for all chunks together; to the same values."""
    keys = jax.random.split(jax.random.key(2), 3)
    mesh = make_mesh(settings.Mesh(**sizes))
    axes = ("batch", "time", "width"), ("vocab", "embed"), ("batch", "time")
    places = tuple(sharding(mesh, of_one) for of_one in axes)
    inputs = jax.random.normal(keys[0], (8, T, 16)), jax.random.normal(keys[1], (64, 16))
    targets = jax.random.randint(keys[2], (8, T), 0, 64)

    def total(hidden, head, targets, constrain=decoder.no_constraint):
        return sum(jnp.sum(x) for x in token_logprobs(hidden, head, targets, chunk=5, constrain=constrain))

    on_mesh = jax.value_and_grad(functools.partial(total, constrain=make_constrain(mesh)), (0, 1))
    placed = jax.device_put((*inputs, targets), places)
    program = jax.jit(on_mesh, out_shardings=(replicated(mesh), places[:2])).lower(*placed).compile()
    expected = jax.jit(jax.value_and_grad(total, (0, 1)))(*inputs, targets)
    for mine, theirs in zip(jax.tree.leaves(program(*placed)), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4, rtol=1e-4)
    found, whole = compiled.collectives(program.as_text()), inputs[1].nbytes // mesh.shape["tensor"]
    assert not [one for one in found if one.in_loop and one.bytes >= whole // mesh.shape["fsdp"]]
    # Over parts of the batch and over parts of the time.
    sums = 1 + (mesh.shape["sequence"] > 1)
    assert [one.kind for one in found if one.bytes >= whole] == ["all-gather", *["all-reduce"] * sums]


def test_large_logits():
    hidden, head, targets = inputs()
    made, entropy = token_logprobs(hidden * 300, head, targets, 1.0, 7)
    expected, expected_entropy = whole(hidden * 300, head, targets, 1.0)
    assert np.isfinite(np.asarray(made)).all()
    np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-2)
    np.testing.assert_allclose(entropy, expected_entropy, atol=1e-2)


def shapes_within(jaxpr):
    """Shapes of all values of a jaxpr and of those inside it."""
    for variable in [*jaxpr.invars, *jaxpr.constvars]:
        yield tuple(variable.aval.shape)
    for equation in jaxpr.eqns:
        for variable in equation.outvars:
            yield tuple(getattr(variable.aval, "shape", ()))
        for value in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")
        ):
            inner = value if hasattr(value, "eqns") else getattr(value, "jaxpr", None)
            if inner is not None:
                yield from shapes_within(inner)


ROWS, PROMPT, COMPLETION, VOCAB = 4, 5, 24, 101


def largest_over_vocabulary(jaxpr) -> int:
    """Elements of the largest value that has the vocabulary as a dimension (or folded into one)."""
    return max(np.prod(s, dtype=int) for s in shapes_within(jaxpr) if any(n and n % VOCAB == 0 for n in s))


def make_model(chunk):
    shape = {
        "model_type": "qwen2", "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": True,
    }  # fmt: skip
    config = from_shape(shape, VOCAB)
    mesh = make_mesh(settings.Mesh(data=1), jax.devices()[:1])
    tokenizer = SimpleNamespace(pad_token_id=0)
    return Model(config, tokenizer, (1,), jnp.dtype("float32"), "none", chunk, mesh, decoder.no_constraint, None)


def make_all(model, micro_batch):
    """Of a batch of two questions of two completions each, as long as they can be."""
    floats = np.ones((ROWS, COMPLETION), np.float32)
    ints = np.ones((ROWS, PROMPT + COMPLETION), np.int32)
    names = ("mask", "weights", "sampler_logprobs", "old_logprobs", "reference_logprobs")
    batch = {"tokens": ints, "segments": ints, "questions": np.arange(ROWS) // 2} | dict.fromkeys(names, floats)
    batch["advantages"] = np.ones(ROWS, np.float32)
    return make_pieces(batch, lay(batch, model, micro_batch))


def policy_gradient(model, micro_batch):
    optimizer = optax.sgd(1.0)
    places = state_shardings(model.trained(), optimizer, replicated(model.mesh))
    step = make_update(model, settings.Algorithm(), optimizer, 1.0, places, micro_batch).step(PROMPT + COMPLETION)
    state = jax.eval_shape(lambda key: init_state(weights.initialize(model.config, key), optimizer), jax.random.key(0))
    return jax.make_jaxpr(step.gradients)(state, make_all(model, micro_batch), 1)


def scoring(model, micro_batch):
    score = make_score(model, 1.0, micro_batch)
    params = jax.eval_shape(lambda key: weights.initialize(model.config, key), jax.random.key(0))
    pieces = make_all(model, micro_batch)
    of_pieces = lambda params, pieces: score.of_pieces(params, pieces, 1, PROMPT + COMPLETION)  # noqa: E731
    return jax.make_jaxpr(of_pieces)(params, pieces)


def supervised(model, micro_batch):
    optimizer = optax.sgd(1.0)
    places = state_shardings(model.trained(), optimizer, replicated(model.mesh))
    step = make_supervised_step(model, optimizer, places)
    state = jax.eval_shape(lambda key: init_state(weights.initialize(model.config, key), optimizer), jax.random.key(0))
    rows = micro_batch or ROWS
    ints = jax.ShapeDtypeStruct((ROWS // rows, rows, COMPLETION), jnp.int32)
    pieces = {"tokens": ints, "segments": ints, "weights": jax.ShapeDtypeStruct(ints.shape, jnp.float32)}
    return jax.make_jaxpr(step.gradients)(state, pieces, 1)


def distillation(model, micro_batch, top_k=0):
    """The teacher's pass, and the student's with its gradient."""
    optimizer = optax.sgd(1.0)
    places = state_shardings(model.trained(), optimizer, replicated(model.mesh))
    wanted = settings.Distillation(top_k=top_k)
    update = make_distillation_update(model, model, wanted, optimizer, places, micro_batch, VOCAB)

    def both(state, pieces):
        told = update.ask.of_pieces(state.params, pieces, 1, PROMPT + COMPLETION)
        step = update.step(PROMPT + COMPLETION)
        return step.gradients(state, {**pieces, **told}, 1, *update.others(state.params))

    state = jax.eval_shape(lambda key: init_state(weights.initialize(model.config, key), optimizer), jax.random.key(0))
    return jax.make_jaxpr(both)(state, make_all(model, micro_batch))


def distillation_of_best(model, micro_batch):
    return distillation(model, micro_batch, top_k=3)


@pytest.mark.parametrize("trace", [policy_gradient, scoring, supervised, distillation, distillation_of_best])
@pytest.mark.parametrize("micro_batch", [0, 2])
def test_batch_by_time_by_vocabulary_never_exists(trace, micro_batch):
    """Nor do the logits of all chunks, one beside the other, for the backward pass."""
    chunk = 3
    rows = micro_batch or (ROWS if trace is supervised else ROWS // 4)
    largest = largest_over_vocabulary(trace(make_model(chunk), micro_batch).jaxpr)
    assert rows * chunk * VOCAB <= largest <= max(rows * chunk * VOCAB, VOCAB * 8)
    # What looks for it finds it where it is.
    seen = largest_over_vocabulary(trace(make_model(COMPLETION), micro_batch).jaxpr)
    assert seen >= rows * (COMPLETION - 1) * VOCAB
