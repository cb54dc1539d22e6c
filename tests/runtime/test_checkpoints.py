"""Checkpoints: what is saved comes back, on any mesh, and a kill or damage never goes unnoticed."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental import multihost_utils

from rl_reason.errors import RunError, UsageError
from rl_reason.runtime.checkpoints import Checkpoints


@flax.struct.dataclass
class State:
    params: dict
    optimizer: optax.OptState
    step: jax.Array


def make_state(scale: float = 1.0, rows: int = 16) -> State:
    params = {"w": jnp.arange(rows * 8.0).reshape(rows, 8) * scale, "b": jnp.full(8, scale, jnp.bfloat16)}
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)).init(params)
    return State(params, optimizer, jnp.asarray(3, jnp.int32))


def abstract(state):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)


def check_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)
    assert jax.tree.structure(a) == jax.tree.structure(b)
    assert jax.tree.map(lambda x: x.dtype, a) == jax.tree.map(lambda x: x.dtype, b)


@pytest.fixture
def saved(tmp_path):
    """A folder with checkpoints of steps 1 and 2."""
    with Checkpoints(tmp_path / "checkpoints", keep=2) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, make_state(step), {"position": step}, 0.5)
    return tmp_path / "checkpoints"


def test_empty_folder(tmp_path):
    with Checkpoints(tmp_path / "new" / "checkpoints", keep=1) as checkpoints:
        assert checkpoints.steps() == [] and checkpoints.best_step() is None
        assert checkpoints.restore_latest(abstract(make_state())) is None


def test_newest_comes_back_as_it_was(saved):
    with Checkpoints(saved, keep=2) as checkpoints:
        assert checkpoints.steps() == [1, 2]
        step, state, data_state = checkpoints.restore_latest(abstract(make_state()))
    assert (step, data_state) == (2, {"position": 2}) and isinstance(state, State)
    check_equal(state, make_state(2))


def test_a_save_does_not_ask_whether_the_run_has_to_stop(tmp_path, monkeypatch):
    """jax's service would take the step that orbax asks with for what `parallel.preemption` counts."""
    asked = []
    monkeypatch.setattr(multihost_utils, "reached_preemption_sync_point", lambda step: asked.append(step) or False)
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, make_state(step), {})
            checkpoints.wait()
    assert asked == [] and os.listdir(tmp_path) == ["2"]


@pytest.mark.parametrize("keep, left", [(1, {"3"}), (2, {"2", "3"}), (0, {"1", "2", "3"})])
def test_number_of_checkpoints_that_stay(saved, keep, left):
    with Checkpoints(saved, keep) as checkpoints:
        checkpoints.save(3, make_state(3), {})
    assert set(os.listdir(saved)) == left


@pytest.mark.parametrize("keep_best, left", [(1, {"2", "5"}), (2, {"2", "3", "5"}), (0, {"5"})])
def test_the_best_ones_stay(tmp_path, keep_best, left):
    scores = {1: 0.3, 2: 0.9, 3: 0.5, 4: None, 5: 0.4}
    for step, score in scores.items():  # each in a run of its own, which knows the scores of those before
        with Checkpoints(tmp_path, 1, keep_best) as checkpoints:
            checkpoints.save(step, make_state(step), {}, score)
    assert set(os.listdir(tmp_path)) == left
    with Checkpoints(tmp_path, 1, keep_best, read_only=True) as checkpoints:
        assert checkpoints.best_step() == (2 if keep_best else 5)
        step, part = checkpoints.restore_part({"step": abstract(make_state()).step}, min(checkpoints.steps()))
        assert step == min(map(int, left)) and int(part["step"]) == 3


def test_negative_keep_is_refused(tmp_path):
    with pytest.raises(UsageError, match="keep=-1"):
        Checkpoints(tmp_path, keep=-1)
    with pytest.raises(UsageError, match="keep_best=-1"):
        Checkpoints(tmp_path, 1, -1)


def test_step_that_exists_is_left_alone(saved):
    with Checkpoints(saved, keep=2) as checkpoints:
        checkpoints.save(2, make_state(9), {"position": 9})
        assert checkpoints.restore_latest(abstract(make_state()))[2] == {"position": 2}


def test_arrays_may_be_donated_while_the_save_is_under_way(tmp_path):
    overwrite = jax.jit(lambda x: jnp.full_like(x, -1.0) + 0 * x, donate_argnums=0)
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        array = jnp.full((2048, 1024), 7.0)
        target = {"x": jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=array.sharding)}
        checkpoints.save(1, {"x": array}, {})
        jax.block_until_ready(overwrite(array))
        checkpoints.wait()
        _, state, _ = checkpoints.restore_latest(target)
    assert float(state["x"].min()) == float(state["x"].max()) == 7.0


def test_other_shapes_and_other_arrays_are_named(saved):
    with Checkpoints(saved, keep=2) as checkpoints:
        with pytest.raises(UsageError) as error:
            checkpoints.restore_latest(abstract(make_state(rows=32)))
        message = str(error.value)
        assert str(saved / "2") in message and "params/w is [16, 8] there and [32, 8] here" in message
        with pytest.raises(UsageError, match=r"step is \[\] there and no such array here"):
            checkpoints.restore_latest(abstract({**vars(make_state())} | {"step": None}))


DAMAGE = {
    "position changed": lambda folder: (folder / "data" / "metadata").write_text('{"position": 3}'),
    "checksums lost": lambda folder: (folder / "checksums.json").unlink(),
    "checksums cut": lambda folder: (folder / "checksums.json").write_text('{"state'),
    "arrays lost": lambda folder: shutil.rmtree(folder / "state" / "d"),
    "arrays cut": lambda folder: [f.write_bytes(f.read_bytes()[:50]) for f in (folder / "state" / "d").iterdir()],
    "arrays overwritten": lambda folder: [f.write_bytes(b"x" * 4000) for f in (folder / "state" / "d").iterdir()],
    "state lost": lambda folder: shutil.rmtree(folder / "state"),
    "description lost": lambda folder: (folder / "state" / "_METADATA").unlink(),
    "data lost": lambda folder: shutil.rmtree(folder / "data"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_checkpoint_is_told_of_and_the_one_before_is_used(saved, kind, caplog):
    DAMAGE[kind](saved / "2")
    with Checkpoints(saved, keep=2, read_only=True) as checkpoints:
        step, state, position = checkpoints.restore_latest(abstract(make_state()))
    assert (step, position) == (1, {"position": 1})
    check_equal(state, make_state(1))
    (told,) = [record.getMessage() for record in caplog.records if record.name.startswith("rl_reason")]
    assert "\n" not in told and str(saved / "2") in told and told.endswith("that of step 1 is used")
    # The run goes on behind step 1 and comes to step 2 again; what was there is kept beside.
    with Checkpoints(saved, keep=2, start=1) as checkpoints:
        checkpoints.save(2, make_state(7), {"position": 7})
    assert set(os.listdir(saved)) == {"1", "2", "2.damaged"}
    DAMAGE[kind](saved / "2")
    with Checkpoints(saved, keep=2, start=1) as checkpoints:
        assert checkpoints.steps() == [1] and set(os.listdir(saved)) == {"1", "2.damaged", "2.damaged.1"}
    DAMAGE[kind](saved / "1")
    with Checkpoints(saved, keep=2) as checkpoints, pytest.raises(RunError, match="1: damaged checkpoint"):
        checkpoints.restore_latest(abstract(make_state()))


def flip(content, place):
    content[int(len(content) * place)] ^= 1


def zero(content, place):
    first = int(len(content) * place)
    assert any(content[first : first + 512])
    content[first : first + 512] = bytes(512)


@pytest.mark.parametrize("edit", [flip, zero])
@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
def test_what_would_be_read_as_other_numbers_is_found(tmp_path, edit, place):
    state = {"w": jax.random.normal(jax.random.key(0), (512, 256))}
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, state, {})
    longest = max((file for file in (tmp_path / "2").rglob("*") if file.is_file()), key=lambda f: f.stat().st_size)
    content = bytearray(longest.read_bytes())
    edit(content, place)
    longest.write_bytes(content)
    with Checkpoints(tmp_path, keep=2, read_only=True) as checkpoints:
        assert checkpoints.restore_latest(abstract(state))[0] == 1
        with pytest.raises(RunError, match=rf"2: damaged checkpoint \(state/.*{longest.name} is not as it was written"):
            checkpoints.restore_part(abstract(state), 2)


def run(script: str, *arguments, **environment) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": os.getcwd()} | environment
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def test_damage_prints_nothing_but_the_error(tmp_path):
    done = run(
        """
        import pathlib, sys, jax, jax.numpy as jnp
        from rl_reason.errors import run_command
        from rl_reason.runtime.checkpoints import Checkpoints
        state = {f"layer{i}": jnp.full((64, 64), i) for i in range(20)}
        with Checkpoints(sys.argv[1], 2) as checkpoints:
            checkpoints.save(1, state, {})
        for file in pathlib.Path(sys.argv[1], "1", "state", "d").iterdir():
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 0xFF
            file.write_bytes(content)
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)
        run_command(lambda: Checkpoints(sys.argv[1], 2).restore_latest(target))
        """,
        tmp_path / "checkpoints",
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("error: "), done.stderr


def test_another_mesh_than_that_of_the_save(tmp_path):
    """Saved from 4 × 2 devices, restored onto 2, onto 8 in another order of axes, and onto one."""
    done = run(
        """
        import sys, jax, jax.numpy as jnp, numpy as np
        from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
        from rl_reason.runtime.checkpoints import Checkpoints
        devices = np.array(jax.devices())
        assert len(devices) == 8
        value = jnp.arange(128.0).reshape(16, 8)
        first = NamedSharding(Mesh(devices.reshape(4, 2), ("data", "fsdp")), P("data", "fsdp"))
        with Checkpoints(sys.argv[1], 1) as checkpoints:
            checkpoints.save(1, {"w": jax.device_put(value, first)}, {})
        for sharding in (
            first,
            NamedSharding(Mesh(devices[:2], ("fsdp",)), P(None, "fsdp")),
            NamedSharding(Mesh(devices.reshape(2, 4), ("fsdp", "tensor")), P("tensor", "fsdp")),
            jax.sharding.SingleDeviceSharding(devices[5]),
        ):
            with Checkpoints(sys.argv[1], 1) as checkpoints:
                target = {"w": jax.ShapeDtypeStruct((16, 8), jnp.float32, sharding=sharding)}
                _, state, _ = checkpoints.restore_latest(target)
            assert state["w"].sharding == sharding, state["w"].sharding
            np.testing.assert_array_equal(state["w"], value)
        print("done")
        """,
        tmp_path / "checkpoints",
        JAX_PLATFORMS="cpu",
        XLA_FLAGS="--xla_force_host_platform_device_count=8",
    )
    assert done.stdout.strip() == "done", done.stderr
    assert done.stderr.strip() == ""


SAVES = """
import sys, jax, jax.numpy as jnp
from rl_reason.runtime.checkpoints import Checkpoints
state = {"x": jnp.zeros(1 << 20), "step": jnp.zeros((), jnp.int32)}
checkpoints = Checkpoints(sys.argv[1], 2)
target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)
step, data = 0, {"step": 0}
if (found := checkpoints.restore_latest(target)) is not None:
    step, state, data = found
assert step == data["step"] == int(state["step"]) and (state["x"] == step).all()
print(step, *[name for name in __import__("os").listdir(sys.argv[1]) if not name.isdigit()], flush=True)
advance = jax.jit(lambda state: jax.tree.map(lambda x: x + 1, state), donate_argnums=0)
while True:
    state, step = advance(state), step + 1
    checkpoints.save(step, state, {"step": step})
"""


def test_kill_at_any_time_leaves_the_last_finished_checkpoint(tmp_path):
    folder = tmp_path / "checkpoints"
    steps, unfinished = [], 0
    for delay in (0.33, 0.11, 0.2, 0.4, 0.0):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVES, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": os.getcwd()},
        )  # fmt: skip
        first = process.stdout.readline().split()
        if not first:
            pytest.fail(process.communicate()[1])
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        # Nothing but finished checkpoints was left when this process had opened the folder.
        assert len(first) == 1
        steps.append(int(first[0]))
        unfinished += any(not name.isdigit() for name in os.listdir(folder))
    assert steps == sorted(steps) and steps[-1] > 0
    assert unfinished, "no kill hit a save: the test shows nothing"
