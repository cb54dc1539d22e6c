"""A tiny decoder with random weights, on any mesh, without files and without a tokenizer."""

from __future__ import annotations

import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from rl_reason import settings
from rl_reason.models import weights
from rl_reason.models.families import from_shape
from rl_reason.models.weights import Params
from rl_reason.parallel.mesh import make_constrain, make_mesh
from rl_reason.recipes.setup import Model

VOCABULARY = 32
SHAPE = {
    "model_type": "qwen2",
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rope_parameters": {"rope_type": "default", "rope_theta": 100.0},
    "tie_word_embeddings": False,
    "initializer_range": 0.4,
}
CONFIG = from_shape(SHAPE, vocab_size=VOCABULARY)
STOPS = (1, 5, 9)
PAD = 0


def describe(remat: str = "none", chunk: int = 5, **sizes: int) -> Model:
    """The model on the first so many devices: `describe(data=…, fsdp=…, tensor=…, …)`."""
    mesh = make_mesh(settings.Mesh(**{"data": 1, **sizes}), jax.devices()[: math.prod(sizes.values())])
    return Model(
        config=CONFIG,
        tokenizer=SimpleNamespace(pad_token_id=PAD),
        stop_ids=STOPS,
        dtype=jnp.dtype("float32"),
        remat=remat,
        logprob_chunk=chunk,
        mesh=mesh,
        constrain=make_constrain(mesh),
        folder=None,
    )


def make_params(seed: int = 3) -> Params:
    """Random weights on the host, biases and norms among them."""
    rng = np.random.default_rng(seed)

    def make(weight):
        start, spread = {"ones": (1, 0.1), "zeros": (0, 0.1)}.get(weight.init, (0, CONFIG.initializer_range))
        return (start + spread * rng.normal(size=weight.shape)).astype(np.float32)

    return weights.tree({path: make(weight) for path, weight in weights.table(CONFIG).items()})
