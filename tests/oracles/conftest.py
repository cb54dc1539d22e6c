import jax
import pytest


@pytest.fixture(scope="package", autouse=True)
def quick_compilation():
    """Tiny models run for milliseconds and compile for seconds: without optimization compiling takes half as long."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
