"""When a process takes itself for one of several, and what it tells jax about SIGTERM."""

from __future__ import annotations

import jax
import pytest

from rl_reason.parallel import hosts

SLURM = {"SLURM_NTASKS": "4", "SLURM_STEP_NODELIST": "node[1-2]"}
OPEN_MPI = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}
NO_TPU = {"TPU_SKIP_MDS_QUERY": "1"}
"""What jax sets where it finds no TPU."""


@pytest.mark.parametrize(
    ("environment", "libtpu", "expected"),
    [
        ({}, False, False),
        (SLURM, False, True),
        (SLURM | {"SLURM_NTASKS": "1"}, False, False),
        ({"SLURM_NTASKS": "4"}, False, False),  # an allocation, in which no step was started
        (OPEN_MPI, False, True),
        (OPEN_MPI | {"OMPI_COMM_WORLD_SIZE": "1"}, False, False),
        ({}, True, True),
        ({"JAX_PLATFORMS": "tpu,cpu"}, True, True),
        ({"JAX_PLATFORMS": "cpu"}, True, False),
        (NO_TPU, True, False),
        (NO_TPU | SLURM, True, True),
    ],
    ids=str,
)
def test_one_of_several(monkeypatch, environment, libtpu, expected):
    for name in (*SLURM, *OPEN_MPI, *NO_TPU, "JAX_PLATFORMS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(hosts.importlib.util, "find_spec", lambda name: object() if libtpu else None)
    assert hosts._among_others() is expected


@pytest.mark.parametrize("preemptible", [False, True])
def test_jax_takes_sigterm_over_only_where_the_run_asks_it(monkeypatch, preemptible):
    seen = []
    monkeypatch.setattr(
        jax.distributed, "initialize", lambda *_, **__: seen.append(jax.config.jax_enable_preemption_service)
    )
    before = jax.config.jax_enable_preemption_service
    try:
        with hosts.joined("here:1", 2, 0, preemptible=preemptible):
            assert seen == [preemptible]
    finally:
        jax.config.update("jax_enable_preemption_service", before)
