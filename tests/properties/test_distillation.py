"""The gradient of a distillation's update: that of its formula on whole logits, however a batch is cut, padded and laid
out, and on whatever mesh."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.paradigm.random_model import SHAPE
from rl_reason import settings
from rl_reason.models import decoder, weights
from rl_reason.models.families import from_shape
from rl_reason.parallel.mesh import replicated
from rl_reason.recipes import completions
from rl_reason.recipes.distillation_update import make_update
from rl_reason.recipes.optimizer import init_state, state_shardings
from tests.properties.test_update import LENGTHS, MESHES, PLAIN, PROMPT, make_rollout, widen

TEACHER = from_shape(
    SHAPE | {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 1},
    vocab_size=40,
)
TOKENS, TEMPERATURE = 30, 0.8
"""Of 32 rows of the student, and 40 of its teacher, which is wider, deeper and knows other heads."""
WANTED = {
    0: settings.Distillation(divergence="reverse_kl", temperature=TEMPERATURE),
    4: settings.Distillation(divergence="jsd", beta=0.3, temperature=TEMPERATURE, top_k=4),
}


@pytest.fixture(scope="module")
def teacher_params():
    rng = np.random.default_rng(13)
    table = {path: rng.normal(0, 0.4, weight.shape) for path, weight in weights.table(TEACHER).items()}
    return weights.tree({path: (x + (path[-1].endswith("norm"))).astype(np.float32) for path, x in table.items()})


def rollout():
    batch, denominator = make_rollout()
    read = ("tokens", "segments", "questions", "mask", "weights")
    return {name: batch[name] for name in read}, denominator


def log_softmax(logits):
    return jax.nn.log_softmax(logits[..., :TOKENS] / TEMPERATURE, axis=-1)


def of_whole_logits(top_k, params, teacher_params, config):
    """(gradient of the loss, means of what is measured), one completion a row, no chunks; the teacher's other tokens
    are one outcome, whose probability is what is left of 1."""
    batch, denominator = rollout()
    mask = batch["mask"]

    def logits(params, config):
        hidden, _ = decoder.forward(params, batch["tokens"], batch["segments"] > 0, config)
        return decoder.logits(params, hidden, config)[:, PROMPT - 1 : -1]

    log_p = log_softmax(logits(teacher_params, TEACHER))
    order = jnp.argsort(-log_p, axis=-1)[..., : top_k or TOKENS]

    def outcomes(logs):
        kept = jnp.take_along_axis(jnp.exp(logs), order, axis=-1)
        return jnp.concatenate([kept, 1 - jnp.sum(kept, axis=-1, keepdims=True)], axis=-1) if top_k else kept

    def loss(params):
        log_q = log_softmax(logits(params, config))
        p, q = outcomes(log_p), outcomes(log_q)
        if top_k:
            m = 0.3 * p + 0.7 * q
            apart = jnp.sum(0.3 * p * jnp.log(p / m) + 0.7 * q * jnp.log(q / m), axis=-1)
        else:
            apart = jnp.sum(q * jnp.log(q / p), axis=-1)
        means = {
            "loss": jnp.sum(batch["weights"] * apart) / denominator,
            "distillation/divergence": jnp.sum(mask * apart) / mask.sum(),
            "distillation/agreement": jnp.sum(mask * (jnp.argmax(log_q, -1) == order[..., 0])) / mask.sum(),
            "entropy": -jnp.sum(mask * jnp.sum(jnp.exp(log_q) * log_q, axis=-1)) / mask.sum(),
        }
        return means["loss"], means

    gradient, means = jax.jit(jax.grad(loss, has_aux=True))(params)
    return jax.device_get((gradient, means))


@pytest.fixture(scope="module")
def expected(params, teacher_params, describe):
    made = {top_k: of_whole_logits(top_k, params, teacher_params, describe().config) for top_k in WANTED}
    for gradient, means in made.values():
        assert min(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient)) > 1e-4
        assert means["distillation/divergence"] > 0.1 and 0 < means["distillation/agreement"] < 0.9
    return made


@pytest.mark.parametrize(
    "top_k, how, chunk, micro_batch, sizes",
    [
        (0, "packed", 3, 2, {}),
        (0, "padded", 100, 0, {"data": 2, "fsdp": 2, "tensor": 2}),
        (4, "padded", 2, 0, {}),
        (4, "rows with their prompts", 5, 2, {}),
        (4, "packed", 3, 0, MESHES["sequence 2 fsdp 4"]),
    ],
    ids=str,
)
def test_update(top_k, how, chunk, micro_batch, sizes, params, teacher_params, describe, expected, monkeypatch):
    if how == "rows with their prompts":
        monkeypatch.setattr(completions, "shares_prompts", lambda model: False)
    student = describe(chunk=chunk, **sizes)
    teacher = dataclasses.replace(student, config=TEACHER)
    batch, denominator = rollout()
    batch = widen(batch, 3, 4) if how == "padded" else batch
    places = state_shardings(student.trained(), PLAIN, replicated(student.mesh))
    state = jax.jit(lambda p: init_state(p, PLAIN), out_shardings=places)(params)
    update = make_update(student, teacher, WANTED[top_k], PLAIN, places, micro_batch, TOKENS)
    asked = jax.device_put(teacher_params, teacher.shardings())
    state, metrics = update.begin(asked, batch, denominator)(state)
    gradient, means = expected[top_k]
    for (path, new), old, theirs in zip(
        jax.tree_util.tree_leaves_with_path(state.params),
        jax.tree.leaves(params),
        jax.tree.leaves(gradient),
        strict=True,
    ):
        np.testing.assert_allclose(old - np.asarray(new), theirs, rtol=1e-4, atol=2e-6, err_msg=str(path))
    assert metrics["tokens/update"] == LENGTHS.sum()
    for name, mean in means.items():
        np.testing.assert_allclose(metrics[name], mean, rtol=1e-4, err_msg=name)


def test_what_the_teacher_says_lies_where_its_tokens_do(teacher_params, describe):
    """On a mesh no device holds all of it."""
    student = describe(data=2, fsdp=2, tensor=2)
    teacher = dataclasses.replace(student, config=TEACHER)
    batch, denominator = rollout()
    places = state_shardings(student.trained(), PLAIN, replicated(student.mesh))
    update = make_update(student, teacher, WANTED[4], PLAIN, places, 0, TOKENS)
    pieces = completions.place(completions.make_pieces(batch, completions.lay(batch, student, 0)), student.mesh)
    asked = jax.device_put(teacher_params, teacher.shardings())
    made = update.ask.of_pieces(asked, pieces, jnp.int32(1), batch["tokens"].shape[1])
    for name, x in made.items():
        shard = x.sharding.shard_shape(x.shape)
        assert shard[1] == x.shape[1] // 4, name
