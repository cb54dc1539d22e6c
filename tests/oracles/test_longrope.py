"""LongRoPE's switch between its two sets of frequencies, against `transformers`.

There, the longest text of a batch decides for the whole batch: more than `original_max_position_embeddings` tokens take
the long set at every position. Here the length of the arrays does, so that all computations of a step agree: a
completion that may cross the switch has the long set from its prompt's first token on, in sampling and in training,
however long it turns out to be. What `generate` of transformers does is no single distribution of texts: it draws with
the short set up to the switch, then computes everything before it anew with the long one.
"""

import functools

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch")
import transformers  # noqa: E402

from rl_reason import settings  # noqa: E402
from rl_reason.data.iterators import EncodedPrompt  # noqa: E402
from rl_reason.recipes.completions import make_score  # noqa: E402
from rl_reason.recipes.evaluation import start_sampling, to_host  # noqa: E402
from rl_reason.recipes.rollout import make_batch  # noqa: E402
from rl_reason.sampling.sampler import make_sampler  # noqa: E402
from tests.oracles.test_transformers import LONGROPE, SIZES, VOCAB, describe, load, our_logits, padded  # noqa: E402

ORIGINAL = 64


@functools.cache
def torch_model():
    torch.manual_seed(0)
    # Beside the other keys, where Phi-3 has it: among the rope's own it counts for nothing.
    changes = {"rope_parameters": LONGROPE, "original_max_position_embeddings": ORIGINAL}
    config = transformers.Phi3Config(**SIZES | changes)
    return transformers.Phi3ForCausalLM(config).float().eval()


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """(config, weights) of the folder that `save_pretrained` writes."""
    folder = tmp_path_factory.mktemp("phi4")
    torch_model().save_pretrained(folder)
    config, params = load(folder)
    assert config.ropes[0].original_positions == ORIGINAL and config.ropes[0].factor > 1
    return config, params


def texts(*lengths):
    rng = np.random.default_rng(0)
    return [rng.integers(2, VOCAB, n).tolist() for n in lengths]


def torch_logits(rows):
    """Of left-padded rows in one batch, each without its padding."""
    tokens, mask = padded(rows, max(map(len, rows)))
    positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
    with torch.no_grad():
        inputs = (torch.tensor(tokens, dtype=torch.long), torch.tensor(mask), torch.tensor(positions))
        made = torch_model()(*inputs).logits.numpy()
    return [one[-len(row) :] for one, row in zip(made, rows, strict=True)]


@pytest.mark.parametrize(
    "lengths", [(ORIGINAL - 1,), (ORIGINAL,), (ORIGINAL + 1,), (9, ORIGINAL), (9, ORIGINAL + 1), (60, 80)], ids=str
)
def test_logits_on_both_sides_of_the_switch(lengths, loaded):
    config, params = loaded
    rows = texts(*lengths)
    tokens, mask = padded(rows, max(lengths))
    made = our_logits(params, config, tokens, mask)
    for one, row, expected in zip(made, rows, torch_logits(rows), strict=True):
        assert np.abs(expected).max() > 1
        np.testing.assert_allclose(one[-len(row) :], expected, atol=1e-4, rtol=1e-4)


def test_the_two_sets_differ(loaded):
    """A text that is padded to more than the original length is computed as beside a text of that length."""
    config, params = loaded
    (row,) = texts(40)
    short, long = (our_logits(params, config, *padded([row], n))[0, -40:] for n in (ORIGINAL, ORIGINAL + 1))
    assert np.abs(short - long).max() > 0.1
    np.testing.assert_allclose(short, torch_logits([row])[0], atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(long, torch_logits([row, *texts(ORIGINAL + 1)])[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("total", [ORIGINAL, ORIGINAL + 1, ORIGINAL + 12])
def test_sampler_and_trainer_agree_across_the_switch(total, loaded):
    """Also on completions that end before it; both are transformers' of a batch that has a text as long as may be."""
    config, params = loaded
    group, prompts = 8, [EncodedPrompt(i, ids) for i, ids in enumerate(texts(50, 57))]
    width, length = 57, total - 57
    model = describe(config, settings.Mesh(), jax.devices()[:1])
    stops = (1, *range(2, VOCAB, 9))
    sampler = make_sampler(config, group_size=group, max_length=length, stop_ids=stops, pad_id=0)
    samples = to_host([start_sampling(sampler, model, sampler.move(params), prompts, width, jax.random.key(0))])
    assert samples.finished.any() and not samples.finished.all()
    batch = make_batch(prompts, samples, group, width, 0)
    assert batch["tokens"].shape[1] == total
    trained = make_score(model, 1.0, 0)(params, batch)
    np.testing.assert_allclose(trained, batch["sampler_logprobs"], atol=1e-4)

    (longest,) = texts(total)
    for i, (tokens, count) in enumerate(zip(samples.tokens, samples.lengths, strict=True)):
        prompt, completion = prompts[i // group].prompt_ids, tokens[:count].tolist()
        logits, _ = torch_logits([prompt + completion, longest])
        table = jax.nn.log_softmax(logits[len(prompt) - 1 : -1])
        expected = np.asarray(table)[np.arange(count), completion]
        np.testing.assert_allclose(samples.logprobs[i, :count], expected, atol=1e-4)
