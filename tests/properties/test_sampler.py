"""What a user may rely on in samples: their probabilities, their ends, and what they do not depend on."""

import dataclasses
from collections import Counter
from functools import cache

import jax
import numpy as np
import pytest

from experiments.paradigm.random_model import SHAPE
from rl_reason.data.iterators import EncodedPrompt
from rl_reason.models import decoder, lora, weights
from rl_reason.models.families import from_shape
from rl_reason.parallel import compiled
from rl_reason.recipes.completions import make_score
from rl_reason.recipes.evaluation import start_sampling, to_host
from rl_reason.recipes.rollout import make_batch
from rl_reason.sampling import sampler as sampler_module
from rl_reason.sampling.sampler import make_sampler
from tests.properties.test_update import MESHES

GROUP, LENGTH = 6, 14
QUESTIONS = {7: (3, 8, 2), 0: (11,), 3: (2, 2, 30, 4, 9, 1), 12: (6, 5), 8: (3, 8, 2)}
"""Questions by their number in the data set; 7 and 8 have the same prompt, and end-of-sequence ids stand in prompts."""


@pytest.fixture(scope="module")
def sample(describe, params):
    """sample(questions, width, **options): completions on the host; samplers are compiled once."""
    model = describe()

    @cache
    def sampler(**options):
        defaults = {"group_size": GROUP, "max_length": LENGTH, "stop_ids": model.stop_ids, "pad_id": model.pad_id}
        return make_sampler(model.config, **defaults | options)

    def run(questions=tuple(QUESTIONS), width=6, key=0, weights=None, limit=None, **options):
        prompts = [EncodedPrompt(q, list(QUESTIONS[q])) for q in questions]
        one, key = sampler(**options), jax.random.key(key)
        return to_host([start_sampling(one, model, one.move(weights or params), prompts, width, key, limit)])

    return run


def by_question(samples, questions, group=GROUP):
    """{(question, g): (tokens, logprobs)} without padding."""
    rows = [(q, g) for q in questions for g in range(group)]
    return {
        row: (samples.tokens[i, : samples.lengths[i]].tolist(), samples.logprobs[i, : samples.lengths[i]])
        for i, row in enumerate(rows)
    }


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.3])
def test_the_trainer_computes_the_samplers_logprobs(temperature, sample, describe, params):
    model = describe()
    made = sample(temperature=temperature)
    assert made.finished.any() and not made.finished.all()  # both kinds of completions are there
    prompts = [EncodedPrompt(q, list(ids)) for q, ids in QUESTIONS.items()]
    batch = make_batch(prompts, made, GROUP, 9, model.pad_id)
    logprobs = make_score(model, temperature, 0)(params, batch)
    difference = np.abs(logprobs - batch["sampler_logprobs"]) * batch["mask"]
    assert difference.max() < 1e-4
    assert np.std(batch["sampler_logprobs"][batch["mask"] > 0]) > 0.3


def test_logprobs_are_those_of_the_whole_softmax(sample, params, describe):
    """Before truncation, after temperature."""
    model = describe()
    made = sample((7,), temperature=0.8, top_k=3)
    prompt = np.array([QUESTIONS[7]])
    hidden, _ = decoder.forward(params, prompt, np.ones_like(prompt), model.config)
    table = jax.nn.log_softmax(decoder.logits(params, hidden, model.config)[0, -1] / 0.8)
    np.testing.assert_allclose(made.logprobs[:, 0], np.asarray(table)[made.tokens[:, 0]], atol=1e-4)


def test_ends(sample, describe):
    model = describe()
    made = sample()
    ended_by = Counter()
    for tokens, logprobs, length, finished in zip(made.tokens, made.logprobs, made.lengths, made.finished, strict=True):
        stops = [t for t, token in enumerate(tokens[:length]) if token in model.stop_ids]
        if finished:
            assert stops == [length - 1]  # kept, counted, and nothing of the kind before
            ended_by[int(tokens[length - 1])] += 1
        else:
            assert not stops and length == LENGTH
        assert (tokens[length:] == model.pad_id).all() and (logprobs[length:] == 0).all()
        assert (logprobs[:length] < 0).all()
    assert set(ended_by) == set(model.stop_ids) and len(set(made.lengths)) > 3


def test_an_end_on_the_last_position_counts_as_finished(sample):
    """The limit cuts off what has not ended: the same samples under a lower limit are prefixes."""
    long = sample()
    limit = int(long.lengths[long.finished & (long.lengths > 1)].min())
    short = sample(max_length=limit)
    np.testing.assert_array_equal(short.tokens, long.tokens[:, :limit])
    np.testing.assert_array_equal(short.lengths, np.minimum(long.lengths, limit))
    np.testing.assert_array_equal(short.finished, long.finished & (long.lengths <= limit))
    assert (short.finished & (short.lengths == limit)).any()


def test_a_limit_below_the_greatest_ends_samples_and_compiles_nothing(sample, monkeypatch):
    """The same as a sampler that has no room for more, in arrays of the greatest length."""
    monkeypatch.setattr(sampler_module, "FIRST_ROOM", 3)
    whole, events = sample(top_k=30), []
    listen = lambda event, *_, **__: events.append(event)  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        made = {limit: sample(top_k=30, limit=limit) for limit in (1, 2, 3, 4, 9, LENGTH)}
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert "/jax/core/compile/backend_compile_duration" not in events
    for limit, one in made.items():
        kept = np.minimum(whole.lengths, limit)
        np.testing.assert_array_equal(one.lengths, kept)
        np.testing.assert_array_equal(one.finished, whole.finished & (whole.lengths <= limit))
        until = np.arange(LENGTH) < kept[:, None]
        np.testing.assert_array_equal(one.tokens, np.where(until, whole.tokens, 0))
        np.testing.assert_allclose(one.logprobs, np.where(until, whole.logprobs, 0), atol=1e-6)
    assert (~made[4].finished).any() and made[4].finished.any()


@pytest.mark.parametrize(("questions", "width"), [((12, 3), 11), ((8, 0, 3, 7, 12), 6), ((0,), 6)])
def test_a_sample_does_not_depend_on_its_batch(questions, width, sample):
    """Nor on the order of questions or on how far prompts are padded."""
    whole = by_question(sample(), QUESTIONS)
    made = by_question(sample(questions, width), questions)
    for row, (tokens, logprobs) in made.items():
        assert tokens == whole[row][0]
        np.testing.assert_allclose(logprobs, whole[row][1], atol=1e-4)


def test_a_sample_does_not_depend_on_the_group(sample):
    few, many = by_question(sample(group_size=2), QUESTIONS, 2), by_question(sample(), QUESTIONS)
    assert all(tokens == many[row][0] for row, (tokens, _) in few.items())


def sample_on_mesh(model, params, questions, temperature):
    """Completions; weights and adapters, if there are some, lie on the mesh as those of a run."""
    places = model.shardings()
    if model.config.lora:
        places = lora.join(places, jax.tree.map(lambda x: x.sharding, model.trained()))
    sampler = make_sampler(
        model.config, group_size=GROUP, max_length=LENGTH, stop_ids=model.stop_ids, pad_id=model.pad_id,
        temperature=temperature, constrain=model.constrain, decoding=model.decoding,
    )  # fmt: skip
    prompts = [EncodedPrompt(q, list(QUESTIONS[q])) for q in questions]
    placed = sampler.move(jax.device_put(params, places))
    return to_host([start_sampling(sampler, model, placed, prompts, 6, jax.random.key(0))])


@pytest.fixture(scope="module")
def on_one_device():
    """(kind, questions, temperature) → what was sampled there."""
    return {}


SPLIT, HALVED = {"fsdp": 4}, {"data": 2, "fsdp": 2, "tensor": 2}


@pytest.mark.parametrize(
    ("kind", "sizes", "questions", "temperature"),
    [
        *(("untied", sizes, (7, 0, 3, 12), 0.0) for sizes in MESHES.values()),
        ("untied", HALVED, (7, 0, 3), 1.0),
        ("untied", {"sequence": 2, "data": 4}, (7, 0, 3), 1.0),
        ("tied", SPLIT, (7, 0, 3, 12), 1.0),
        ("adapters", SPLIT, (7, 0, 3, 12), 1.0),
        ("adapters", HALVED, (7, 0, 3, 12), 1.0),
    ],
    ids=str,
)
def test_a_sample_does_not_depend_on_the_mesh(kind, sizes, questions, temperature, describe, params, on_one_device):
    """Nor on whether devices divide prompts, samples, MLP width and vocabulary."""
    config = describe().config
    if kind == "tied":
        config = dataclasses.replace(config, tie_embeddings=True)
        params = {name: x for name, x in params.items() if name != "head"}
    if kind == "adapters":
        config = dataclasses.replace(config, lora=lora.make_lora(config, 2, 4.0, ("all-linear",)))
        rng = np.random.default_rng(4)
        draw = lambda weight: rng.normal(0, 0.4, weight.shape).astype(np.float32)  # noqa: E731
        made = weights.tree({path: draw(weight) for path, weight in lora.table(config).items()})
        params = lora.join(params, made)
    one, many = (dataclasses.replace(describe(**s), config=config) for s in ({}, sizes))
    case = kind, questions, temperature
    if case not in on_one_device:
        on_one_device[case] = sample_on_mesh(one, params, questions, temperature)
    expected, made = on_one_device[case], sample_on_mesh(many, params, questions, temperature)
    assert len(set(expected.lengths)) > (2 if temperature else 1)
    np.testing.assert_array_equal(made.tokens, expected.tokens)
    np.testing.assert_allclose(made.logprobs, expected.logprobs, atol=1e-4)


def test_no_weight_travels_for_a_token(describe):
    """Between devices go a token's activations, for two products of each layer and for its logits."""
    sizes = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 3, "initializer_range": 0.02}
    config = from_shape(SHAPE | sizes, vocab_size=512)
    model = dataclasses.replace(describe(fsdp=4), config=config)
    options = {"group_size": 4, "max_length": 5, "stop_ids": (1,), "pad_id": 0}
    sampler = make_sampler(config, **options, constrain=model.constrain, decoding=model.decoding)
    prompts = np.full((2, 3), 7, np.int32)
    moved = sampler.move(model.load_params(0))
    made = sampler.start(*moved, prompts, prompts > 0, np.arange(2), jax.random.key(0))
    text = sampler.decode.lower(moved.decoding, *made, np.int32(0), np.int32(5)).compile().as_text()
    found = [one for one in compiled.collectives(text) if one.in_loop]
    of_logits = 4 * 8 * 512 // 4
    matrices = [layer[name].matrix for layer in moved.decoding["layers"] for name in ("query", "key", "gate", "down")]
    assert max(one.bytes for one in found) == of_logits < min(x.nbytes for x in matrices)
    rows = 4 * 8 * 64
    layers = [one for one in found if one.bytes == rows]
    assert 2 * 3 <= len(layers) <= 2 * 3 + 3 and len(found) <= len(layers) + 6


def counted(sampler, calls):
    """The sampler, which notes the rows that go on by themselves and the sizes that its cache grows to."""

    def take(prompts, state, rows):
        calls.append(("rows", len(rows)))
        return sampler.take(prompts, state, rows)

    def grow(own, length):
        calls.append(("room", length))
        return sampler.grow(own, length)

    return dataclasses.replace(sampler, take=take, grow=grow)


@pytest.mark.parametrize("sizes", [{}, {"data": 2, "fsdp": 2, "tensor": 2}], ids=["one device", "mesh"])
def test_samples_that_go_on_alone_and_a_cache_that_grows_change_nothing(sizes, describe, params, monkeypatch):
    model = describe(**sizes)
    placed = jax.device_put(params, model.shardings())
    questions = (7, 0, 3, 12)
    prompts = [EncodedPrompt(q, list(QUESTIONS[q])) for q in questions]
    made, calls = [], []
    for room, least in ((LENGTH, 32), (3, 4)):
        monkeypatch.setattr(sampler_module, "FIRST_ROOM", room)
        monkeypatch.setattr(sampler_module, "LEAST_ROWS", least)
        calls.append([])
        sampler = make_sampler(
            model.config, group_size=8, max_length=LENGTH, stop_ids=(1, 5, 9, 12, 17, 20, 23), pad_id=model.pad_id,
            constrain=model.constrain, decoding=model.decoding,
        )  # fmt: skip
        begun = start_sampling(counted(sampler, calls[-1]), model, sampler.move(placed), prompts, 6, jax.random.key(0))
        made.append(to_host([begun]))
    assert calls[0] == []
    fewer = [n for kind, n in calls[1] if kind == "rows"]
    assert fewer == sorted(fewer, reverse=True) and fewer[0] <= 16 and fewer[-1] == 4 and len(fewer) > 1
    assert [n for kind, n in calls[1] if kind == "room"] == [6, 12, 14]
    np.testing.assert_array_equal(made[1].tokens, made[0].tokens)
    np.testing.assert_array_equal(made[1].lengths, made[0].lengths)
    np.testing.assert_array_equal(made[1].finished, made[0].finished)
    np.testing.assert_allclose(made[1].logprobs, made[0].logprobs, atol=1e-4)
    assert (made[0].lengths == LENGTH).any() and (made[0].lengths < 4).any()


def test_other_keys_questions_and_sample_numbers_give_other_samples(sample):
    first, second = by_question(sample(key=0), QUESTIONS), by_question(sample(key=1), QUESTIONS)
    texts = [tuple(tokens) for tokens, _ in first.values() if len(tokens) > 3]
    assert len(set(texts)) == len(texts) > 10
    assert sum(first[row][0] == second[row][0] for row in first) <= 3  # short ones may agree
    same_prompt = [(first[7, g][0], first[8, g][0]) for g in range(GROUP)]
    assert sum(a == b for a, b in same_prompt) <= 1
    again = by_question(sample(key=0), QUESTIONS)
    assert all(again[row][0] == first[row][0] for row in first)


def test_every_position_and_sample_draws_anew(sample, params):
    """With uniform probabilities two positions, two samples or two questions agree as often as chance has it."""
    uniform = {**params, "head": np.zeros_like(params["head"])}
    made = sample((7, 8), group_size=600, max_length=4, stop_ids=(-1,), weights=uniform).tokens.reshape(2, 600, 4)
    chance = 1 / 32
    tolerance = 4.5 * np.sqrt(chance * (1 - chance) / 600)
    for t in range(4):
        others = [made[0, :, s] for s in range(t)]  # other positions of a sample
        others += [np.roll(made[0, :, t], 1), made[1, :, t], made[1, :, (t + 1) % 4]]
        for other in others:
            assert abs(np.mean(made[0, :, t] == other) - chance) < tolerance
    np.testing.assert_allclose(np.bincount(made.ravel(), minlength=32) / made.size, chance, atol=0.012)


def probabilities(params, config, prompt, temperature):
    tokens = np.array([prompt])
    hidden, _ = decoder.forward(params, tokens, np.ones_like(tokens), config)
    logits = np.asarray(decoder.logits(params, hidden, config)[0, -1], np.float64) / temperature
    return np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 1.0},
        {"temperature": 0.7, "top_p": 0.8},
        {"temperature": 1.5, "top_k": 10, "top_p": 0.9, "min_p": 0.1},
    ],
    ids=str,
)
def test_frequencies(options, sample, params, describe):
    draws = 6000
    made = sample((3,), group_size=draws, max_length=1, **options)
    counts = np.bincount(made.tokens[:, 0], minlength=32)
    # The reference: filters in the order top-k, top-p, min-p, each on what the one before has left.
    p = probabilities(params, describe().config, QUESTIONS[3], options["temperature"])
    if "top_k" in options:
        p = np.where(p >= np.sort(p)[-options["top_k"]], p, 0)
        p /= p.sum()
    if "top_p" in options:
        order = np.argsort(-p)
        before = np.cumsum(p[order]) - p[order]
        p[order[before >= options["top_p"]]] = 0
        p /= p.sum()
    if "min_p" in options:
        p = np.where(p >= options["min_p"] * p.max(), p, 0)
        p /= p.sum()
    assert len(options) == 1 or 3 <= np.count_nonzero(p) < 25
    assert counts[p == 0].sum() == 0
    common = p * draws >= 5
    expected = np.append(p[common], p[~common].sum()) * draws
    observed = np.append(counts[common], counts[~common].sum())
    statistic = np.sum((observed - expected) ** 2 / np.maximum(expected, 1e-9))
    freedom = np.count_nonzero(expected) - 1
    assert freedom >= 2
    assert statistic < freedom + 4.5 * np.sqrt(2 * freedom) + 4  # about one in 10⁴ by chance; the key is fixed


def test_second_tokens_follow_their_own_first(sample, params, describe):
    """The cache: frequencies of the second token, for the samples that share a first one."""
    made = sample((12,), group_size=6000, max_length=2, stop_ids=(-1,))
    first, number = Counter(made.tokens[:, 0].tolist()).most_common(1)[0]
    p = probabilities(params, describe().config, (*QUESTIONS[12], first), 1.0)
    counts = np.bincount(made.tokens[made.tokens[:, 0] == first, 1], minlength=32)
    assert number > 500
    np.testing.assert_allclose(counts / number, p, atol=4.5 * np.sqrt(0.25 / number))
    assert 0.5 * np.abs(counts / number - p).sum() < 0.12  # total variation


def test_greedy(sample, params, describe):
    made = sample((3, 7), temperature=0.0, stop_ids=(-1,), group_size=2)
    config = describe().config
    for row, question in ((0, 3), (2, 7)):
        np.testing.assert_array_equal(made.tokens[row], made.tokens[row + 1])
        text = list(QUESTIONS[question])
        tokens = np.array([text + made.tokens[row].tolist()])
        hidden, _ = decoder.forward(params, tokens, np.ones_like(tokens), config)
        table = np.asarray(jax.nn.log_softmax(decoder.logits(params, hidden, config)[0]))[len(text) - 1 : -1]
        np.testing.assert_array_equal(made.tokens[row], table.argmax(axis=1))
        np.testing.assert_allclose(made.logprobs[row], table.max(axis=1), atol=1e-4)


def test_one_stop_id_is_not_enough_for_another(sample):
    made = sample(stop_ids=(1,))
    ends = {int(tokens[n - 1]) for tokens, n, ok in zip(made.tokens, made.lengths, made.finished, strict=True) if ok}
    assert ends <= {1} and np.isin(made.tokens, (5, 9)).any()
