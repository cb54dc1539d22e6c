"""Settings of all tests, made before jax is imported; commands that tests start inherit them."""

import os
import shutil
import tempfile

import pytest

TOGETHER = ("test_hosts.py", "test_gym.py", "test_adapters.py", "test_learned_rewards.py", "test_loading.py")
TOGETHER += ("test_engine.py", "test_geometry.py")
"""Files whose tests share what takes a minute to make."""

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Adding [B] to [B, T] is a bug that broadcasting would hide.
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

_flags = os.environ.get("XLA_FLAGS", "")
if "xla_force_host_platform_device_count" not in _flags:
    _flags += " --xla_force_host_platform_device_count=8"
# XLA has as many threads as devices. Two collectives that do not depend on each other may each hold some of them and
# wait for the others for ever: with more threads all devices come to both. On a busy machine that takes longer than the
# 40 s after which XLA ends the process.
os.environ.setdefault("PJRT_NPROC", "32")
_flags += " --xla_cpu_collective_call_terminate_timeout_seconds=300"
# What tests compute is small: code that is compiled in half the time is better than code that is fast.
_flags += " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker would otherwise start a thread per core, and they would all wait for each other.
    _flags += " --xla_cpu_multi_thread_eigen=false"
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ.setdefault(_name, "1")
os.environ["XLA_FLAGS"] = _flags.strip()
# Half of the time goes into compiling, mostly what another test or worker has compiled already. Workers inherit this.
_compiled = None
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _compiled = os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="rl_reason-tests-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


def pytest_sessionfinish():
    if _compiled:
        shutil.rmtree(_compiled, ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Tests of a file that is marked so share what its fixtures make, and so a worker; the others go where there is
    room. pytest-xdist's own `loadgroup` does not see marks under pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if file.rpartition("/")[2] in TOGETHER else nodeid

    return ByFile(config, log)


@pytest.fixture(scope="session")
def isolation() -> None:
    """For tests that run programs in the sandbox."""
    from rl_reason.errors import UsageError
    from rl_reason.rewards.code import code

    try:
        code.check("config.reward.names")
    except UsageError as error:
        pytest.skip(f"no isolation on this machine: {error}")
