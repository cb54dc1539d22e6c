"""A tiny random model on any mesh, without files and without a tokenizer."""

import jax
import pytest

from experiments.paradigm import random_model


@pytest.fixture(scope="session")
def describe():
    """describe(data=…, fsdp=…, tensor=…, …): the model on the first so many devices."""
    return random_model.describe


@pytest.fixture(scope="session")
def params():
    """Random weights on the host, biases and norms among them."""
    return random_model.make_params()


@pytest.fixture(scope="package", autouse=True)
def quick_compilation():
    """Tiny models run for milliseconds and compile for seconds: without optimization compiling takes half as long."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
