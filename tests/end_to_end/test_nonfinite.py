"""A loss that is no number ends the run before it can be saved, and leaves what is needed to find out why."""

from __future__ import annotations

import json
import shutil

import jax
import numpy as np
from safetensors.numpy import load_file, save_file

from rl_reason import settings
from rl_reason.parallel.mesh import make_mesh
from rl_reason.recipes.optimizer import make_optimizer
from rl_reason.recipes.setup import describe_model
from rl_reason.recipes.state import abstract_state
from rl_reason.runtime.checkpoints import Checkpoints
from tests.end_to_end.commands import read


def _stopped(commands, arguments):
    done = commands.run(arguments)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and done.stderr.splitlines()[-1] == errors[0]
    return errors[0]


def _batch(run, line):
    """The batch that was left behind, read without pickle."""
    [file] = run.glob("nonfinite_batch_*.npz")
    assert str(file) in line
    with np.load(file, allow_pickle=False) as arrays:
        batch = {name: arrays[name] for name in arrays.files}
    assert {"tokens", "segments", "mask", "advantages", "sampler_logprobs"} <= batch.keys()
    assert len(batch["tokens"]) == 8
    return int(file.stem.rpartition("_")[2]), batch


def test_a_learning_rate_that_is_far_too_large(commands, tmp_path):
    run = tmp_path / "run"
    # Two good steps first: the schedule reaches the learning rate only at the end of its warm-up.
    flags = ["--config.algorithm.learning_rate=1e-3", "--config.checkpoint.every=1", "--config.steps=2"]
    flags += ["--config.evaluation.every=0", "--config.evaluation.samples=1"]
    commands.succeed(commands.grpo(run, *flags))
    config = json.loads((run / "config.json").read_text())
    config["algorithm"]["learning_rate"] = 1e30
    (run / "config.json").write_text(json.dumps(config))
    flags[0], flags[2] = "--config.algorithm.learning_rate=1e30", "--config.steps=8"
    line = _stopped(commands, commands.grpo(run, *flags))
    step, _ = _batch(run, line)
    assert step >= 3 and f"step {step}" in line and ("loss" in line or "_norm" in line)
    # Nothing of the broken step is on record.
    assert max(record["step"] for record in read(run / "metrics.jsonl")) < step

    model = describe_model(settings.Model(path=str(run / "model")), make_mesh(settings.Mesh()), lambda: ())
    abstract = abstract_state(model, make_optimizer(settings.Algorithm(), 1), True)
    with Checkpoints(run / "checkpoints", keep=0) as checkpoints:
        restored = checkpoints.restore_latest(abstract)
    assert restored is not None and 2 <= restored[0] < step
    for array in jax.tree.leaves(restored[1]["train"].params):
        assert np.isfinite(array).all()


def test_weights_that_overflow(commands, tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    tensors = dict(load_file(folder / "model.safetensors"))
    tensors["model.norm.weight"] = np.full_like(tensors["model.norm.weight"], 3e38)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    run = tmp_path / "run"
    line = _stopped(commands, commands.grpo(run, f"--config.model.path={folder}", "--config.evaluation.samples=1"))
    step, _ = _batch(run, line)
    assert step == 1
    assert (run / "metrics.jsonl").read_text() == ""
    assert not [path for path in (run / "checkpoints").iterdir() if path.name.isdigit()]
