"""What an update's gradient does not depend on: micro-batches, padding, packing, the mesh, what is recomputed."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rl_reason import settings
from rl_reason.data.iterators import EncodedPrompt
from rl_reason.data.packing import pack
from rl_reason.errors import UsageError
from rl_reason.models import decoder
from rl_reason.models.decoder import REMAT_POLICIES
from rl_reason.models.logprobs import token_logprobs
from rl_reason.parallel.mesh import DECODING, Rules, make_mesh, mesh_axes, replicated, sharding
from rl_reason.recipes import completions, supervised
from rl_reason.recipes.completions import lay, make_score, place
from rl_reason.recipes.evaluation import Samples
from rl_reason.recipes.layout import make_pieces
from rl_reason.recipes.optimizer import init_state, make_optimizer, state_shardings
from rl_reason.recipes.policy_update import make_loss, make_update
from rl_reason.recipes.rollout import advantages, cut_minibatches, make_batch, weigh
from rl_reason.recipes.supervised import make_supervised_step

GROUP, ROWS, PROMPT, COMPLETION = 4, 8, 6, 7
LENGTHS = np.array([7, 1, 3, 5, 2, 6, 4, 7], np.int32)
ALGORITHM = settings.Algorithm(group_size=GROUP, clip_low=0.1, clip_high=0.3, kl_coef=0.2)
PLAIN = optax.sgd(1.0)
"""With it the change of the weights is the gradient itself, however small."""

COMPILED = {}


def make_rollout(prompt_length=PROMPT, completion_length=COMPLETION, reduction="sequence_mean"):
    """A batch of two questions with old and reference log-probabilities, and its denominator; wider by padding only."""
    rng = np.random.default_rng(0)
    prompts = [EncodedPrompt(0, [3, 8, 2, 30]), EncodedPrompt(1, [11, 7])]
    tokens = np.zeros((ROWS, completion_length), np.int32)
    logprobs, old, reference = np.zeros((3, ROWS, completion_length), np.float32)
    for row, n in enumerate(LENGTHS):
        tokens[row, :n] = rng.integers(2, 32, n)
        logprobs[row, :n] = -rng.exponential(3.0, n)
        # Padding of the arrays that a scoring pass makes is not zero.
        old[row], reference[row] = -9, -8
        old[row, :n], reference[row, :n] = logprobs[row, :n] + rng.normal(0, 0.2, (2, n))
    samples = Samples(tokens, logprobs, LENGTHS, LENGTHS < 7)
    batch = make_batch(prompts, samples, ALGORITHM.group_size, prompt_length, 0)
    batch["advantages"] = advantages(rng.normal(size=ROWS).astype(np.float32), batch, ALGORITHM)
    batch |= {"old_logprobs": old, "reference_logprobs": reference}
    return weigh(batch, reduction, COMPLETION)


@pytest.fixture(scope="module")
def near(params, describe):
    """The rollout, with old log-probabilities close to the policy's: some ratios are clipped, most are not."""
    batch, denominator = make_rollout()
    logprobs = np.asarray(make_score(describe(), 1.0, 0)(params, batch))
    return with_old(batch, logprobs), denominator


def with_old(batch, logprobs):
    rng = np.random.default_rng(1)
    noise = np.zeros_like(batch["old_logprobs"])
    for row, n in enumerate(LENGTHS):
        noise[row, :n] = rng.normal(0, 0.2, n)
    reference = logprobs[:, : noise.shape[1]] - 2 * noise
    return {**batch, "old_logprobs": logprobs + noise, "reference_logprobs": reference}


def make_updated(model, params, optimizer=PLAIN, micro_batch=0, algorithm=ALGORITHM):
    """The update (compiled once), and the state on the mesh."""
    places = state_shardings(model.trained(), optimizer, replicated(model.mesh))
    state = jax.jit(lambda p: init_state(p, optimizer), out_shardings=places)(params)
    key = (tuple(model.mesh.shape.items()), model.remat, model.logprob_chunk, model.attention, id(optimizer), algorithm)
    if (*key, micro_batch) not in COMPILED:
        COMPILED[*key, micro_batch] = make_update(model, algorithm, optimizer, 1.0, places, micro_batch)
    return COMPILED[*key, micro_batch], state


def compiled_text(model, batch, params, micro_batch=0):
    """What the gradients of a batch are compiled to."""
    update, state = make_updated(model, params, ADAM, micro_batch)
    pieces = place(make_pieces(batch, lay(batch, model, micro_batch)), model.mesh)
    step = update.step(batch["tokens"].shape[1])
    return step.gradients.lower(state, pieces, np.int32(1)).compile().as_text()


def gradient_of(model, rollout, params, micro_batch=0, algorithm=ALGORITHM):
    """The change that plain gradient descent makes, and the metrics, on the host."""
    update, state = make_updated(model, params, micro_batch=micro_batch, algorithm=algorithm)
    state, metrics = update(state, *rollout)
    change = jax.tree.map(lambda new, old: np.asarray(new) - old, state.params, params)
    return change, jax.device_get(metrics)


def assert_close(made, expected, rtol=1e-4):
    (change, metrics), (expected_change, expected_metrics) = made, expected
    for (path, mine), theirs in zip(
        jax.tree_util.tree_leaves_with_path(change), jax.tree.leaves(expected_change), strict=True
    ):
        # Differences of weights of size 1 carry a rounding of 1e-7.
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=1e-6, err_msg=str(path))
    assert metrics.keys() == expected_metrics.keys()
    for name, value in metrics.items():
        np.testing.assert_allclose(value, expected_metrics[name], rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.fixture(scope="module")
def expected(near, params, describe):
    made = gradient_of(describe(), near, params)
    change, metrics = made
    assert min(np.abs(leaf).max() for leaf in jax.tree.leaves(change)) > 1e-4
    assert 0.05 < metrics["ratio/clipped"] < 0.9 and metrics["kl/reference"] > 0.01
    return made


@pytest.mark.parametrize("micro_batch", [2, 4, 8])
def test_micro_batches(micro_batch, near, params, describe, expected):
    assert_close(gradient_of(describe(), near, params, micro_batch), expected)


@pytest.mark.parametrize(("left", "right"), [(5, 0), (3, 4)])
def test_padding(left, right, near, params, describe, expected):
    """Longer arrays that hold the same tokens; the weights are computed anew."""
    wide, denominator = make_rollout(PROMPT + left, COMPLETION + right)
    assert denominator == near[1]
    for name in ("old_logprobs", "reference_logprobs"):
        wide[name][:, :COMPLETION] = near[0][name]
        wide[name][:, COMPLETION:] = 5.0
    assert wide["tokens"].shape == (ROWS, PROMPT + COMPLETION + left + right)
    assert_close(gradient_of(describe(), (wide, denominator), params), expected)


def test_order_within_a_group(near, params, describe, expected):
    """Neither the advantages nor the gradient know which sample of a question came first."""
    batch, denominator = near
    order = np.array([3, 1, 0, 2, 6, 7, 5, 4])
    rewards = np.random.default_rng(5).normal(size=ROWS).astype(np.float32)
    shuffled = {name: array[order] for name, array in batch.items()}
    np.testing.assert_allclose(
        advantages(rewards[order], shuffled, ALGORITHM), advantages(rewards, batch, ALGORITHM)[order], rtol=1e-5
    )
    assert_close(gradient_of(describe(), (shuffled, denominator), params), expected)


@pytest.mark.parametrize("remat", sorted(set(REMAT_POLICIES) - {"none"}))
def test_what_is_recomputed(remat, near, params, describe, expected):
    assert_close(gradient_of(describe(remat=remat, chunk=3), near, params), expected)


@pytest.mark.parametrize(
    ("sizes", "micro_batch"), [({}, 0), ({}, 2), ({"data": 2, "fsdp": 2, "tensor": 2}, 0)], ids=str
)
def test_rows_that_hold_their_prompts_themselves(sizes, micro_batch, near, params, describe, expected, monkeypatch):
    """As attention's kernels need them: packed with their prompts, they make the gradient of shared prompts."""
    monkeypatch.setattr(completions, "shares_prompts", lambda model: False)
    model = describe(**sizes)
    layout = lay(near[0], model, micro_batch)
    assert layout.owners_IR is None and layout.pieces == (2 if sizes else 3)
    assert_close(gradient_of(model, near, jax.device_put(params, model.shardings()), micro_batch), expected)


BY_SEQUENCE = dataclasses.replace(
    ALGORITHM, ratio_level="sequence_mean", clip_low=0.05, correction="sequence_mask", correction_limit=1.2
)
"""Sums over a completion in the loss: of the ratio, and of what corrects the sampler's."""


@pytest.fixture(scope="module")
def by_sequence(near, params, describe):
    """A rollout with advantages by token, and the gradient of its loss with one completion a row."""
    batch, denominator = near
    mask, rng = batch["mask"], np.random.default_rng(2)
    apart, given = rng.normal(0, 0.3, (2, *mask.shape)).astype(np.float32)
    batch = {**batch, "sampler_logprobs": (batch["old_logprobs"] - apart) * mask, "advantages": given * mask}
    policy_loss, model = make_loss(BY_SEQUENCE), describe()

    def loss(params):
        hidden, _ = decoder.forward(params, batch["tokens"], batch["segments"] > 0, model.config)
        table = jax.nn.log_softmax(decoder.logits(params, hidden, model.config)[:, PROMPT - 1 : -1], axis=-1)
        logprobs = jnp.take_along_axis(table, batch["tokens"][:, PROMPT:, None], axis=-1)[..., 0]
        read = (batch[name] for name in ("old_logprobs", "reference_logprobs", "sampler_logprobs"))
        rest = (jnp.zeros(mask.shape), batch["advantages"], mask, mask.astype(np.int32), batch["weights"])
        total, sums = policy_loss(logprobs, *read, *rest)
        return total / denominator, sums

    gradient, sums = jax.jit(jax.grad(loss, has_aux=True))(params)
    corrected = float(sums["ratio/correction"]) / mask.sum()
    assert 0.05 < float(sums["ratio/clipped"]) / mask.sum() < 0.9 and 0.2 < corrected < 0.9
    return (batch, denominator), jax.tree.map(lambda x: -np.asarray(x), gradient)


def widen(batch, left, right):
    """Longer arrays with the same tokens; what is added to log-probabilities is not zero."""
    lead = lambda name: left if name in ("tokens", "segments") else 0  # noqa: E731
    fill = lambda name: 5.0 if name.endswith("logprobs") else 0  # noqa: E731
    return {
        name: np.pad(x, ((0, 0), (lead(name), right)), constant_values=fill(name)) if x.ndim == 2 else x
        for name, x in batch.items()
    }


@pytest.mark.parametrize("how", ["packed", "micro-batches", "padded", "rows with their prompts", "sequence 2 fsdp 4"])
def test_sums_over_a_completion(how, by_sequence, params, describe, monkeypatch):
    """They do not depend on what shares its row, its piece or its device."""
    (batch, denominator), expected_change = by_sequence
    model = describe(**MESHES.get(how, {}))
    micro_batch = 2 if how in ("micro-batches", "rows with their prompts") else 0
    if how == "rows with their prompts":
        monkeypatch.setattr(completions, "shares_prompts", lambda model: False)
    if how == "padded":
        batch = widen(batch, 3, 4)
    params_there = jax.device_put(params, model.shardings())
    change, metrics = gradient_of(model, (batch, denominator), params_there, micro_batch, BY_SEQUENCE)
    for (path, mine), theirs in zip(
        jax.tree_util.tree_leaves_with_path(change), jax.tree.leaves(expected_change), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6, err_msg=str(path))
    assert metrics["tokens/update"] == LENGTHS.sum()


def test_minibatches_of_one_pass_are_the_whole_batch(near):
    batch, _ = near
    parts = cut_minibatches(batch, 4, [1, 2])
    assert [len(part["advantages"]) for part in parts] == [2, 2, 2, 2]
    rows = sorted(tuple(row) for part in parts for row in part["tokens"].tolist())
    assert rows == sorted(map(tuple, batch["tokens"].tolist()))
    again, other = cut_minibatches(batch, 4, [1, 2]), cut_minibatches(batch, 4, [1, 3])
    np.testing.assert_array_equal(again[0]["tokens"], parts[0]["tokens"])
    assert any((a["tokens"] != b["tokens"]).any() for a, b in zip(other, parts, strict=True))
    # A row keeps its own advantage, mask and log-probabilities.
    where = {tuple(row): i for i, row in enumerate(batch["tokens"].tolist())}
    for part in parts:
        picked = [where[tuple(row)] for row in part["tokens"].tolist()]
        for name, array in part.items():
            np.testing.assert_array_equal(array, batch[name][picked])


MESHES = {
    "data 8": {"data": 8},
    "fsdp 8": {"fsdp": 8},
    "fsdp 2 tensor 4": {"fsdp": 2, "tensor": 4},
    "data 2 fsdp 2 tensor 2": {"data": 2, "fsdp": 2, "tensor": 2},
    "slice 2 fsdp 4": {"slice": 2, "fsdp": 4},
    "slice 2 data 2 tensor 2": {"slice": 2, "data": 2, "tensor": 2},
    "sequence 2 fsdp 4": {"sequence": 2, "fsdp": 4},
    "sequence 4 tensor 2": {"sequence": 4, "tensor": 2},
    "data 2 fsdp 2 sequence 2": {"data": 2, "fsdp": 2, "sequence": 2},
}
ADAM = make_optimizer(settings.Algorithm(learning_rate=1e-2, adam_eps=1e-3, max_grad_norm=0.5, weight_decay=0.1), 10)


@pytest.fixture(scope="module")
def adam_expected(near, params, describe):
    update, state = make_updated(describe(), params, ADAM)
    return jax.device_get(update(state, *near))


@pytest.mark.parametrize(("sizes", "micro_batch"), [*((name, 0) for name in MESHES), ("data 2 fsdp 2 tensor 2", 4)])
def test_mesh(sizes, micro_batch, near, params, describe, adam_expected):
    """One optimizer step on eight devices is that on one; the devices do share the work."""
    model = describe(**MESHES[sizes])
    update, state = make_updated(model, params, ADAM, micro_batch)
    text = compiled_text(model, near[0], params, micro_batch)
    assert re.search(r"= .* (all-reduce|reduce-scatter)(-start)?\(", text)
    if "fsdp" in MESHES[sizes]:
        assert re.search(r"= .* all-gather(-start)?\(", text)
    # Weights of all layers together are gathered nowhere: a loop over layers gathers those of one.
    stacked = {",".join(map(str, weight.shape)) for weight in jax.tree.leaves(params["layers"]) if weight.ndim > 2}
    gathered = re.findall(r"= \(?\w+\[([\d,]*)\][^=]* all-gather(?:-start)?\(", text)
    assert len(stacked) > 3 and not stacked & set(gathered)
    state, metrics = update(state, *near)
    query = state.params["layers"]["query"]
    parts = np.prod([MESHES[sizes].get(axis, 1) for axis in ("fsdp", "sequence", "tensor")])
    assert query.addressable_shards[0].data.size * parts == query.size
    # The optimizer's state lies where the weights do.
    moments = [leaf for leaf in jax.tree.leaves(state.opt_state) if leaf.shape == query.shape]
    assert moments and all(leaf.sharding.is_equivalent_to(query.sharding, leaf.ndim) for leaf in moments)

    expected_state, expected_metrics = adam_expected
    for (path, mine), theirs in zip(
        jax.tree_util.tree_leaves_with_path(jax.device_get(state)), jax.tree.leaves(expected_state), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=2e-6, err_msg=str(path))
    for name, value in metrics.items():
        np.testing.assert_allclose(value, expected_metrics[name], rtol=1e-4, atol=1e-6, err_msg=name)


def loss_and_gradient(model, params, near):
    """Sums over the batch's pieces, before the optimizer."""
    batch, _ = near
    update, state = make_updated(model, params)
    pieces = place(make_pieces(batch, lay(batch, model, 0)), model.mesh)
    totals = update.step(batch["tokens"].shape[1]).gradients(state, pieces, np.int32(len(pieces["tokens"])))
    return jax.device_get((totals.loss, totals.gradients))


@pytest.mark.parametrize("sizes", MESHES)
def test_loss_and_gradient_on_meshes(sizes, near, params, describe):
    """Relative to the whole of each weight's gradient, to the rounding of float32."""
    expected, expected_gradient = loss_and_gradient(describe(), params, near)
    loss, gradient = loss_and_gradient(describe(**MESHES[sizes]), params, near)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    for (path, mine), theirs in zip(
        jax.tree_util.tree_leaves_with_path(gradient), jax.tree.leaves(expected_gradient), strict=True
    ):
        assert np.linalg.norm(mine - theirs) <= 1e-5 * np.linalg.norm(theirs), path


@pytest.mark.parametrize("sizes", [{"sequence": 4}, {"sequence": 2, "tensor": 2}], ids=str)
def test_long_sequences_are_shared_out(sizes, params, describe):
    """What a device holds of the activations of one long row: its part of the time, in every layer's loop."""
    model, length = describe(remat="layer", **sizes), 512
    tokens = np.random.default_rng(0).integers(2, 32, (1, length)).astype(np.int32)

    def loss(params, tokens, constrain):
        hidden, _ = decoder.forward(params, tokens, jnp.ones_like(tokens), model.config, "layer", constrain)
        return jnp.sum(token_logprobs(hidden, decoder.head_weights(params), tokens, 1.0, 64, constrain)[0])

    taken = {}
    for name, constrain in (("one", decoder.no_constraint), ("many", model.constrain)):
        on = jax.devices()[0] if name == "one" else model.mesh
        placed = jax.device_put(params, on if name == "one" else model.shardings())
        program = jax.jit(jax.grad(functools.partial(loss, constrain=constrain))).lower(placed, tokens).compile()
        taken[name] = program.memory_analysis().temp_size_in_bytes
    assert taken["many"] < 0.45 * taken["one"]


def test_one_device_has_no_collectives(near, params, describe):
    text = compiled_text(describe(), near[0], params)
    assert not re.search(r"(all-reduce|all-gather|reduce-scatter)(-start)?\(", text)


@pytest.mark.parametrize("micro_batch", [1, 4])
def test_scores(micro_batch, near, params, describe):
    batch, _ = near
    whole = make_score(describe(), 0.8, 0)(params, batch)
    made = make_score(describe(), 0.8, micro_batch)(params, batch)
    np.testing.assert_allclose(made, whole, atol=1e-5, rtol=1e-5)
    assert whole.shape == (ROWS, COMPLETION) and np.std(np.asarray(whole)) > 0.5


def test_scores_on_a_mesh(near, params, describe):
    batch, _ = near
    model = describe(data=2, fsdp=2, tensor=2)
    made = make_score(model, 0.8, 4)(jax.device_put(params, model.shardings()), batch)
    np.testing.assert_allclose(made, make_score(describe(), 0.8, 0)(params, batch), atol=1e-5, rtol=1e-5)


def test_the_first_update_needs_no_old_logprobs(near, params, describe):
    """Without them the policy is the one that sampled: as if they were its own."""
    batch, denominator = near
    own = np.asarray(make_score(describe(), 1.0, 0)(params, batch))
    without = {k: x for k, x in batch.items() if k != "old_logprobs"}
    made = gradient_of(describe(), (without, denominator), params)
    assert_close(made, gradient_of(describe(), ({**batch, "old_logprobs": own}, denominator), params))
    assert made[1]["ratio/mean"] == pytest.approx(1) and made[1]["ratio/clipped"] == 0


def test_completions_without_an_advantage_are_not_computed(near, params, describe):
    """Where there is no KL term, their loss is constant: the gradient is the same without them, if they are counted."""
    batch, denominator = near
    del (batch := dict(batch))["reference_logprobs"]
    batch["advantages"] = np.where(np.arange(ROWS) < GROUP, 0, batch["advantages"]).astype(np.float32)
    model = describe()
    state = make_updated(model, params)[1]
    algorithm = dataclasses.replace(ALGORITHM, kl_coef=0.0)
    places = state_shardings(model.trained(), PLAIN, replicated(model.mesh))
    update = make_update(model, algorithm, PLAIN, 1.0, places, 2)
    assert update.skips_zeros and not make_updated(model, params)[0].skips_zeros
    made = {}
    for skips in (False, True):
        state = make_updated(model, params)[1]
        after, metrics = dataclasses.replace(update, skips_zeros=skips)(state, batch, denominator)
        made[skips] = jax.device_get(after.params), metrics
    for mine, theirs in zip(jax.tree.leaves(made[True][0]), jax.tree.leaves(made[False][0]), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)
    assert made[False][1]["tokens/update"] == LENGTHS.sum()
    assert made[True][1]["tokens/update"] == LENGTHS[GROUP:].sum()
    assert made[True][1]["loss"] == pytest.approx(float(made[False][1]["loss"]), rel=1e-5)
    # No completion at all: nothing changes, and what is a mean over tokens is no number.
    state = make_updated(model, params)[1]
    after, metrics = update(state, {**batch, "advantages": np.zeros(ROWS, np.float32)}, denominator)
    assert metrics["loss"] == metrics["optimizer/grad_norm"] == 0 and np.isnan(metrics["entropy"])
    for mine, theirs in zip(jax.tree.leaves(after.params), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_difference_from_the_sampler_is_measured(near, params, describe):
    batch, denominator = near
    _, metrics = gradient_of(describe(), near, params)
    inside = batch["mask"] > 0
    difference = (batch["old_logprobs"] - batch["sampler_logprobs"])[inside]
    assert metrics["logprob_difference/mean"] == pytest.approx(np.abs(difference).mean(), rel=1e-4)
    assert metrics["logprob_difference/max"] == pytest.approx(np.abs(difference).max(), rel=1e-4)
    assert metrics["logprob_difference/ratio"] == pytest.approx(np.exp(difference).mean(), rel=1e-4)


EXAMPLES = [
    ([3, 4, 5], [6, 7, 1]),
    ([8], [9, 1]),
    ([10, 11, 12, 13], [14, 1]),
    ([2, 2], [30, 31, 4, 1]),
    ([5, 6], [1]),
    ([7], [7, 7, 7, 1]),
]


def one_a_row(model, params):
    """Written out here, without `pack`."""
    tokens, segments, weights = np.zeros((3, len(EXAMPLES), 8))
    for row, (prompt, completion) in enumerate(EXAMPLES):
        n = len(prompt) + len(completion)
        tokens[row, :n], segments[row, :n], weights[row, len(prompt) : n] = prompt + completion, 1, 1
    batch = {"tokens": tokens.astype(np.int32), "segments": segments.astype(np.int32)}
    return supervised_step(model, batch | {"weights": weights.astype(np.float32)}, params)


def supervised_gradient(model, examples, length, params, rows=None, micro_batch=0):
    packed = pack(examples, length, 0)
    batch = dict(zip(("tokens", "segments", "weights"), packed, strict=True))
    if rows:
        batch = {k: np.pad(x, ((0, rows - len(x)), (0, 0))) for k, x in batch.items()}
    return supervised_step(model, batch, params, micro_batch), len(packed.tokens_RT)


def supervised_step(model, batch, params, micro_batch=0):
    places = state_shardings(model.trained(), PLAIN, replicated(model.mesh))
    state = jax.jit(lambda p: init_state(p, PLAIN), out_shardings=places)(params)
    step = make_supervised_step(model, PLAIN, places)
    state, metrics = supervised.update(step, state, batch, micro_batch, model.mesh)
    change = jax.tree.map(lambda new, old: np.asarray(new) - old, state.params, params)
    return change, jax.device_get(metrics)


def test_packing(params, describe):
    """Several examples in a row train as one example in each; so do they in micro-batches and on a mesh."""
    model = describe()
    expected = one_a_row(model, params)
    made, rows = supervised_gradient(model, EXAMPLES, 12, params)
    assert rows <= 3
    assert expected[1]["tokens/update"] == sum(len(completion) for _, completion in EXAMPLES)
    assert_close(made, expected)
    assert min(np.abs(leaf).max() for leaf in jax.tree.leaves(made[0])) > 1e-4
    model = describe(data=2, fsdp=2, tensor=2)
    meshed, _ = supervised_gradient(model, EXAMPLES, 12, params, rows=4, micro_batch=2)
    assert_close(meshed, expected)


def test_rules_that_collide():
    with pytest.raises(UsageError, match="collide.*fsdp"):
        Rules(heads="fsdp").spec(("layers", "embed", "heads", "head_dim"))
    with pytest.raises(UsageError, match="collide"):
        Rules(time="data").spec(("batch", "time"))
    with pytest.raises(UsageError, match="collide.*sequence"):
        Rules(batch=("data", "sequence")).spec(("batch", "time"))
    with pytest.raises(UsageError, match="modle"):
        Rules(mlp="modle")
    expected = jax.sharding.PartitionSpec(("slice", "data", "expert", "fsdp"), "sequence", None)
    assert Rules().spec(("batch", "time", None)) == expected


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        (settings.Mesh(data=3), "product of 8"),
        (settings.Mesh(data=-1, fsdp=-1), "at most one"),
        (settings.Mesh(data=-1, sequence=3), "product of 8"),
        (settings.Mesh(data=8, fsdp=0), "config.mesh.fsdp=0"),
        (settings.Mesh(data=8, tensor=-2), "config.mesh.tensor=-2"),
    ],
)
def test_meshes_that_do_not_fit(sizes, words):
    with pytest.raises(UsageError, match=words):
        make_mesh(sizes, jax.devices()[:8])


def test_the_rest_of_the_devices():
    mesh = make_mesh(settings.Mesh(data=-1, fsdp=2, tensor=2), jax.devices()[:8])
    assert dict(mesh.shape) == {"slice": 1, "data": 2, "fsdp": 2, "sequence": 1, "expert": 1, "tensor": 2}


class Chip:
    """A device of a slice of TPU, as far as a mesh looks at it."""

    platform, device_kind, process_index = "tpu", "TPU v5p", 0

    def __init__(self, id, slice_index):
        self.id, self.slice_index = id, slice_index
        self.coords, self.core_on_chip = (id % 2, id // 2 % 2, 0), 0

    def __repr__(self):
        return f"chip {self.id} of slice {self.slice_index}"


def test_a_mesh_over_slices():
    """Neighbours along every axis but `slice` are of one slice."""
    chips = [Chip(i, i // 4) for i in (5, 0, 3, 6, 1, 4, 2, 7)]
    mesh = make_mesh(settings.Mesh(slice=2, data=1, fsdp=4), chips)
    by_slice = mesh.devices.reshape(2, 4)
    assert [{chip.slice_index for chip in row} for row in by_slice] == [{0}, {1}]
    with pytest.raises(UsageError, match="config.mesh.slice=1: expected 2"):
        make_mesh(settings.Mesh(data=2, fsdp=4), chips)


def test_dimensions_that_do_not_divide_are_replicated():
    mesh = make_mesh(settings.Mesh(data=1, fsdp=2, tensor=4), jax.devices()[:8])
    spec = sharding(mesh, ("layers", "embed", "kv_heads", "head_dim"), (2, 16, 2, 4)).spec
    assert [mesh_axes(part) for part in spec] == [(), ("fsdp", "sequence"), (), ()]
    # Of several axes the first ones may do.
    parts = [sharding(mesh, ("mlp",), (size,), DECODING).spec for size in (24, 12, 6)]
    assert [mesh_axes(*part) for part in parts] == [("tensor", "fsdp", "sequence"), ("tensor",), ()]


def test_the_trainer_s_log_probabilities_have_the_model_s_soft_cap(params, describe):
    model = describe()
    capped = dataclasses.replace(model, config=dataclasses.replace(model.config, final_softcap=1.5))
    batch, _ = make_rollout()
    made = make_score(capped, 0.7, 0)(params, batch)
    hidden, _ = decoder.forward(params, batch["tokens"], batch["segments"], capped.config)
    logits = np.asarray(decoder.logits(params, hidden, capped.config))[:, PROMPT - 1 : -1] / 0.7
    assert np.abs(logits).max() < 1.5 / 0.7
    table = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    expected = np.take_along_axis(table, batch["tokens"][:, PROMPT:, None], axis=-1)[..., 0]
    mask = batch["mask"] > 0
    np.testing.assert_allclose(np.asarray(made)[mask], expected[mask], atol=1e-5)
    assert np.abs(np.asarray(make_score(model, 0.7, 0)(params, batch)) - made)[mask].max() > 0.1
