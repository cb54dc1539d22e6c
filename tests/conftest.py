"""Settings of all tests, made before jax is imported; commands that tests start inherit them."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Adding [B] to [B, T] is a bug that broadcasting would hide.
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

_flags = os.environ.get("XLA_FLAGS", "")
if "xla_force_host_platform_device_count" not in _flags:
    _flags += " --xla_force_host_platform_device_count=8"
if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker would otherwise start a thread per core, and they would all wait for each other.
    _flags += " --xla_cpu_multi_thread_eigen=false"
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ.setdefault(_name, "1")
os.environ["XLA_FLAGS"] = _flags.strip()
