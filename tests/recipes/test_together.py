"""Which runs can be computed together."""

from pathlib import Path

import jax.numpy as jnp
import pytest

from rl_reason.errors import UsageError
from rl_reason.recipes import together
from rl_reason.runtime.checkpoints import Checkpoints
from rl_reason.runtime.config import load
from rl_reason.runtime.workdir import Workdir

ROOT = Path(__file__).resolve().parents[2]


def settings(*flags: str):
    return load([f"--config={ROOT}/configs/grpo_math.py:tiny", *(f"--config.{flag}" for flag in flags)]).settings


def groups(*runs: str, most: int = 8, folder: Path = Path("/nowhere")) -> list[list[int]]:
    made = [(settings(*run.split()), folder / str(place)) for place, run in enumerate(runs)]
    return together.groups(made, most)


def test_seeds_numbers_and_what_the_host_reads_may_differ():
    assert groups(
        "seed=0", "seed=1", "algorithm.learning_rate=1e-3", "algorithm.kl_coef=0.2", "algorithm.clip_high=0.4",
        "algorithm.advantage=centered", "algorithm.reduction=token_mean", "sampling.temperature=0.7",
    ) == [[0, 1, 2, 3, 4, 5, 6, 7]]  # fmt: skip


@pytest.mark.parametrize(
    "other",
    ["algorithm.group_size=4", "algorithm.updates=2", "algorithm.kl_estimator=k2", "steps=3", "algorithm.kl_coef=0.0",
     "algorithm.entropy_coef=0.01", "evaluation.samples=2", "reward.weights=(1.0,0.0)"],
)  # fmt: skip
def test_what_changes_shapes_programs_or_length_goes_apart(other):
    assert groups("seed=0", other, "seed=1", f"{other} seed=1") == [[0, 2], [1, 3]]


def test_no_group_is_larger_than_asked_and_they_are_about_as_large():
    assert groups(*(f"seed={seed}" for seed in range(9)), most=4) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_runs_behind_other_checkpoints_go_apart(tmp_path):
    for place, step in ((0, 2), (2, 2)):
        with Checkpoints(Workdir(tmp_path / str(place)).checkpoints, keep=2) as checkpoints:
            checkpoints.save(step, {"x": jnp.zeros(2)}, {})
    assert groups("seed=0", "seed=1", "seed=2", "seed=3", folder=tmp_path) == [[0, 2], [1, 3]]


@pytest.mark.parametrize(
    "flag, parts",
    [
        ("critic.kind=shared", ("critic.kind='shared'", "'none'")),
        ("algorithm.resample=2", ("algorithm.resample=2", "default 0")),
        ("sampling.ahead=1", ("sampling.ahead=1",)),
        ("model.path=", ("model.path=''", "folder")),
        ("model.lora_rank=4", ("model.lora_rank=4",)),
        ("reward.names=('judge','format')", ("'judge'", "rules")),
        ("recipe=supervised", ("config.recipe='supervised'", "policy_gradient")),
        ("model.attention=splash", ("model.attention='splash'", "xla")),
        ("profile=3", ("profile='3'",)),
    ],
)
def test_what_goes_with_nothing_is_told(flag, parts):
    with pytest.raises(UsageError) as error:
        together.check(settings(flag))
    assert all(part in str(error.value) for part in parts) and "\n" not in str(error.value)
    together.check(settings())
