"""What a machine can do at best, measured on the spot: a large product of matrices, a large copy."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.workloads import Workload


def measure(dtype: str) -> dict[str, float]:
    """`flops_per_s` of a large product and `bytes_per_s` (read and written) of a large copy, on the first device."""
    import jax
    import jax.numpy as jnp

    large = jax.devices()[0].platform != "cpu"
    n = 8192 if large else 2048
    a = jax.random.normal(jax.random.key(0), (n, n), dtype)
    product = jax.jit(lambda a: a @ a)
    x = jnp.ones((2**30 if large else 2**26,), jnp.float32)
    copy = jax.jit(lambda x: x + 1, donate_argnums=0)
    kept = [x]

    def copy_once() -> jax.Array:
        kept[0] = copy(kept[0])
        return kept[0]

    return {
        "flops_per_s": 2 * n**3 / _fastest(lambda: product(a)),
        "bytes_per_s": 2 * x.size * 4 / _fastest(copy_once),
    }


def _fastest(call: Callable, repeats: int = 5) -> float:
    """Seconds of the fastest call; the first one, which compiles, does not count."""
    seconds = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        call().block_until_ready()
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


def products(workload: Workload) -> tuple[int, int]:
    """Weights that a token is multiplied with: those of all layers, and those of the head."""
    d, head = workload.hidden, workload.head_dim
    attention = 2 * d * workload.heads * head + 2 * d * workload.kv_heads * head
    return workload.layers * (attention + 3 * d * workload.intermediate), workload.vocab * d
