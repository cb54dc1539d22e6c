"""Perplexity against transformers, document by document."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rl_reason.data.documents import load
from rl_reason.data.mixing import held_out_rows
from rl_reason.parallel.mesh import make_mesh
from rl_reason.recipes.perplexity import HeldOutDocuments, make_measure
from rl_reason.recipes.pretraining import make_encode
from rl_reason.recipes.setup import describe_model
from rl_reason.settings import Mesh, Model

PATH = "checkpoints/tiny"


@pytest.mark.parametrize("mesh", [Mesh(data=1), Mesh(data=2, fsdp=2, tensor=2)])
def test_is_that_of_transformers(mesh):
    devices = jax.devices()[: 1 if mesh.data == 1 else 8]
    model = describe_model(Model(path=PATH), make_mesh(mesh, devices), lambda: ())
    made = [load(name, "test", "", 0, "error", "") for name in ("remarks", "exercises")]
    texts = made[0][:3] + made[1][:2]
    encode = make_encode(model)
    longest = max(len(encode(text)) for text in texts)
    rows = held_out_rows(texts, encode, longest, model.pad_id)
    size = sum(len(text.encode()) for text in texts)
    made = make_measure(model, 4)(model.load_params(0), HeldOutDocuments("x", len(texts), size, rows), lambda n: None)

    oracle = AutoModelForCausalLM.from_pretrained(PATH, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(PATH)
    nats = tokens = 0.0
    for row, segments in zip(rows["tokens"], rows["segments"], strict=True):
        for segment in range(1, segments.max() + 1):
            ids = torch.tensor(row[segments == segment])[None].long()
            if ids.shape[1] > 1:
                nats += float(oracle(ids, labels=ids).loss) * (ids.shape[1] - 1)
                tokens += ids.shape[1] - 1
    assert sum(len(tokenizer(text)["input_ids"]) + 1 for text in texts) == (rows["segments"] > 0).sum()
    assert made["n"] == 5 and made["tokens"] == tokens
    assert made["perplexity"] == pytest.approx(np.exp(nats / tokens), rel=1e-5)
    assert made["bits/byte"] == pytest.approx(nats / np.log(2) / size, rel=1e-5)
    low, high = made["perplexity_ci95"]
    assert low < made["perplexity"] < high
