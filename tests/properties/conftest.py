"""A tiny random model on any mesh, without files and without a tokenizer."""

import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_reason import settings
from rl_reason.models import weights
from rl_reason.models.families import from_shape
from rl_reason.parallel.mesh import make_constrain, make_mesh
from rl_reason.recipes.setup import Model

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
CONFIG = from_shape(SHAPE, vocab_size=32)
STOPS = (1, 5, 9)
PAD = 0


@pytest.fixture(scope="session")
def describe():
    """describe(data=…, fsdp=…, tensor=…, …): the model on the first so many devices."""

    def make(remat: str = "none", chunk: int = 5, **sizes: int) -> Model:
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

    return make


@pytest.fixture(scope="session")
def params():
    """Random weights on the host, biases and norms among them."""
    rng = np.random.default_rng(3)

    def make(weight):
        start, spread = {"ones": (1, 0.1), "zeros": (0, 0.1)}.get(weight.init, (0, CONFIG.initializer_range))
        return (start + spread * rng.normal(size=weight.shape)).astype(np.float32)

    return weights.tree({path: make(weight) for path, weight in weights.table(CONFIG).items()})


@pytest.fixture(scope="package", autouse=True)
def quick_compilation():
    """Tiny models run for milliseconds and compile for seconds: without optimization compiling takes half as long."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
