"""Workloads: lengths come from the weights, text and ids say the same, rewards differ."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file
from transformers import PreTrainedTokenizerFast

from benchmarks import workloads
from benchmarks.workloads import END_ID, LENGTHS, PAD_ID, WORKLOADS
from rl_reason.errors import UsageError

TINY = WORKLOADS["tiny"]
SMALL = replace(WORKLOADS["small"], layers=1, vocab=2048)


@pytest.fixture(scope="module", params=LENGTHS)
def lengths(request):
    return request.param


@pytest.fixture(scope="module")
def folder(lengths, tmp_path_factory):
    return workloads.make_folder(TINY, lengths, tmp_path_factory.mktemp("model"))


def end_probabilities(folder, workload, random):
    """Of the end token and of padding behind the last norm, for random other coordinates of many sizes. float64."""
    tensors = load_file(folder / "model.safetensors")
    embeddings, norm = tensors["model.embed_tokens.weight"].astype(float), tensors["model.norm.weight"].astype(float)
    hidden = random.standard_normal((200, workload.hidden)) / np.sqrt(workload.hidden)
    hidden *= np.linspace(1, 1.5, 200)[:, None]
    hidden[:, 0] = workloads.CONSTANT
    hidden /= np.sqrt((hidden**2).mean(1, keepdims=True))
    logits = (hidden * norm) @ embeddings.T
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return (odds / odds.sum(1, keepdims=True))[:, [END_ID, PAD_ID]].T


@pytest.mark.parametrize("workload", [TINY, SMALL], ids=lambda workload: workload.name)
def test_the_hazard_of_the_end_token_is_constant(workload, lengths, tmp_path):
    made = workloads.make_folder(workload, lengths, tmp_path)
    end, pad = end_probabilities(made, workload, np.random.default_rng(0))
    assert pad.max() < 1e-12
    if lengths == "fixed":
        assert end.max() < 1e-12
    else:
        np.testing.assert_allclose(end, 1 / 32 if lengths == "short" else 4 / workload.completion, rtol=0.1)


def test_a_name_may_change_numbers():
    assert workloads.find("tiny") == TINY
    assert workloads.find("tiny:completion=512:group=4") == replace(
        TINY, name="tiny:completion=512:group=4", completion=512, group=4
    )
    for wrong in ("huge", "tiny:completion", "tiny:completion=0", "tiny:name=3", "tiny:depth=2"):
        with pytest.raises(UsageError, match="expected"):
            workloads.find(wrong)


def test_layers_leave_coordinate_0_alone(folder):
    tensors = load_file(folder / "model.safetensors")
    for layer in range(TINY.layers):
        at = f"model.layers.{layer}."
        assert not tensors[at + "self_attn.o_proj.weight"][0].any()
        assert not tensors[at + "mlp.down_proj.weight"][0].any()
        assert tensors[at + "input_layernorm.weight"][0] == tensors[at + "post_attention_layernorm.weight"][0] == 0


def test_the_file_holds_what_the_shape_says(folder):
    about, tensors = json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors")
    assert tensors["model.embed_tokens.weight"].shape == (about["vocab_size"], about["hidden_size"])
    assert tensors["model.layers.0.self_attn.k_proj.weight"].shape == (128, 256)
    assert all(tensor.dtype == np.float32 and np.isfinite(tensor).all() for tensor in tensors.values())
    assert len(tensors) == 2 + 12 * TINY.layers


def test_mean_length_is_that_of_a_geometric_distribution():
    assert TINY.mean_length("fixed") == 128
    lengths = np.minimum(np.random.default_rng(0).geometric(4 / 128, 200_000), 128)
    assert TINY.mean_length("longtail") == pytest.approx(lengths.mean(), rel=0.01)


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=list(WORKLOADS))
def test_prompts_are_different_and_have_the_right_words(workload):
    texts = workloads.prompts(workload)
    assert len(set(texts)) == len(texts) >= 256
    assert {len(text.split()) for text in texts} == {workload.prompt}
    assert texts == workloads.prompts(workload)


def test_text_and_ids_say_the_same(folder):
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (PAD_ID, END_ID)
    assert len(tokenizer) == TINY.vocab
    ids = list(range(TINY.vocab))
    assert tokenizer(tokenizer.decode(ids))["input_ids"] == ids
    assert {len(row) for row in tokenizer(workloads.prompts(TINY))["input_ids"]} == {TINY.prompt}


def test_a_folder_that_stands_is_left_and_another_one_replaced(tmp_path):
    file = workloads.make_folder(TINY, "fixed", tmp_path) / "model.safetensors"
    first, written = file.read_bytes(), file.stat().st_mtime_ns
    workloads.make_folder(TINY, "fixed", tmp_path)
    assert file.stat().st_mtime_ns == written
    workloads.make_folder(TINY, "longtail", tmp_path)
    assert file.read_bytes() != first
    assert workloads.make_folder(TINY, "fixed", tmp_path) and file.read_bytes() == first


def test_problems_are_rows_of_the_data_source():
    rows = workloads.problems("train", "tiny", 0)
    assert [row["problem"] for row in rows] == workloads.prompts(TINY)
    assert len({row["id"] for row in rows}) == len(rows)
    assert all(row["answer"] for row in rows)


def test_reward_is_the_share_of_even_words():
    assert workloads.reward("w2 w3 w10 <|endoftext|>", {"id": "1"}) == pytest.approx(2 / 3)
    assert workloads.reward("") == workloads.reward("<|endoftext|>") == 0
