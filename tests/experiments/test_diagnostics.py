"""The page about diagnostics says what the kept runs have shown, and each of them is due to what is blamed."""

import json
import re
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.catalogue import EXPERIMENTS, ROOT
from experiments.claims import LESS
from experiments.diagnostics import faulty
from experiments.diagnostics.claims import WRONG
from experiments.diagnostics.run import COMMON, CONFIG, FAILURES, RUNS, Run, call, ends, markdown, read
from rl_reason.errors import RunError, UsageError
from rl_reason.models import cache, decoder
from rl_reason.models.families import read_config
from rl_reason.recipes.checks import OF_RECIPES
from rl_reason.runtime.config import load
from rl_reason.sampling.sampler import Sampler

PAGE = (ROOT / "docs" / "diagnostics.md").read_text()
KEPT = json.loads(EXPERIMENTS["diagnostics"].file.read_text())


@pytest.mark.parametrize("name", FAILURES)
def test_tables_and_pictures_are_those_of_the_runs(name):
    assert markdown(KEPT, name) in PAGE
    assert f"](../experiments/diagnostics/{name}.png)" in PAGE
    assert (EXPERIMENTS["diagnostics"].file.parent / f"{name}.png").is_file()


@pytest.mark.parametrize("name", RUNS)
def test_flags_on_the_page_make_the_run(name, monkeypatch):
    """They are what was run, and nothing that a run refuses."""
    kept = KEPT["runs"][name]
    assert (kept["changes"], kept.get("fault", "")) == (RUNS[name].changes, RUNS[name].fault)
    flags = [f"--config.{key}={value}" for key, value in kept["changes"].items()]
    for flag in flags:
        assert f"`{flag}`" in PAGE or re.search(re.escape(flag.replace("(", '"(').replace(")", ')"')), PAGE)
    assert f"diagnostics.faulty {kept.get('fault', '')}" in PAGE
    monkeypatch.chdir(ROOT)
    settings = load([f"--config={CONFIG}", *flags]).settings
    OF_RECIPES[settings.recipe](settings)


@pytest.mark.parametrize("name", FAILURES)
def test_one_thing_is_blamed(name):
    """It is all that a failure has and its control has not."""
    failed, control = RUNS[name], RUNS[FAILURES[name].control]
    differ = {key for key in failed.flags | control.flags if failed.flags.get(key) != control.flags.get(key)}
    # A reward has a name and a weight; steps are cut where nothing happens any more.
    things = {re.sub("^reward.*", "reward", key) for key in differ - {"steps"}} | {failed.fault} - {""}
    assert len(things) == 1


@pytest.mark.parametrize("name", WRONG)
def test_what_is_called_a_failure_is_one(name):
    """In each seed, where its control has not failed."""
    pairs = zip(*(ends(KEPT, run, "pass@1/train") for run in (name, FAILURES[name].control)), strict=True)
    assert all(failed < 0.75 * control for failed, control in pairs)


def test_claims_are_of_the_failure_less_its_control():
    made = {one.what: one for one in EXPERIMENTS["diagnostics"].read()}
    what = f"{WRONG['too_short']} − its control, right completions, points {LESS}"
    of_run = lambda run: np.array(KEPT["runs"][run]["metrics"]["pass@1/train"])[:, -3:].mean(axis=1)  # noqa: E731
    expected = 100 * np.mean(of_run("too_short") - of_run("healthy"))
    assert made[what].here == f"{expected:+.1f}".replace("-", "−") and made[what].n == "3 seeds"


def test_the_line_of_a_run_that_stopped():
    said = KEPT["runs"]["not_finite"]["said"]
    assert said.startswith("error: step ") and said.partition("; the last good")[0] in PAGE


def test_a_run_that_ends_otherwise_is_told(tmp_path, monkeypatch):
    """One that is to stop and does not has shown nothing."""
    monkeypatch.setattr("sys.executable", "/bin/true")
    call(tmp_path / "seed1" / "divergence", RUNS["divergence"], 1)
    folder = tmp_path / "seed1" / "not_finite"
    with pytest.raises(RunError, match="not_finite ended with exit status 0"):
        call(folder, RUNS["not_finite"], 1)
    folder.mkdir()
    (folder / "nonfinite_batch_2.npz").touch()
    call(folder, RUNS["not_finite"], 1)  # has stopped as it should


def test_a_run_with_a_fault_is_whole_or_begins_anew(tmp_path, monkeypatch):
    """Weights of before are not there any more; and half a run is not drawn."""
    monkeypatch.setattr("sys.executable", "/bin/true")
    steps = int(COMMON["steps"])
    for done in (steps - 1, steps):
        folder = tmp_path / f"seed{done}" / "positions"
        folder.mkdir(parents=True)
        lines = [json.dumps({"step": step, "pass@1/train": 0.5}) for step in range(1, done + 1)]
        (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(RunError, match=f"positions: has {steps - 1} steps, expected {steps}"):
        read(tmp_path, "positions", [steps, steps - 1])
    for done in (steps - 1, steps):
        call(tmp_path / f"seed{done}" / "positions", Run(fault="positions"), done)
    assert not (tmp_path / f"seed{steps - 1}" / "positions").exists()
    assert read(tmp_path, "positions", [steps])["metrics"]["pass@1/train"] == [[0.5] * steps]


def test_positions_are_wrong_where_tokens_are_decoded_only(monkeypatch):
    monkeypatch.setattr(cache, "decoder", decoder)
    faulty.positions()
    config = read_config(ROOT / "checkpoints" / "tiny")
    (cos, _), *_ = decoder.all_angles(jnp.arange(1, 5)[None], 8, config)
    (decoded, _), *_ = cache.decoder.all_angles(jnp.arange(4)[None], 8, config)
    np.testing.assert_array_equal(decoded, cos)
    assert cache.decoder.rms_norm is decoder.rms_norm


def test_weights_come_late(monkeypatch):
    monkeypatch.setattr(Sampler, "move", lambda self, params: params)
    faulty.late()
    moved = [int(Sampler.move(None, {"w": jnp.array(step)})["w"]) for step in range(12)]
    assert moved == [0] * (faulty.UPDATES + 1) + [*range(1, 12 - faulty.UPDATES)]


def test_weights_are_rounded(monkeypatch):
    monkeypatch.setattr(Sampler, "move", lambda self, params: params)
    faulty.float8()
    moved = Sampler.move(None, {"w": jnp.array([1.0, 1.1, 1.2, 1.7], jnp.float32)})["w"]
    assert moved.dtype == jnp.float32 and moved.tolist() == [1.0, 1.0, 1.25, 1.75]


@pytest.mark.parametrize("flags", [[], ["--config=X"], ["position"]])
def test_a_fault_that_there_is_not(flags, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["faulty", *flags])
    with pytest.raises(UsageError, match="FAULT=.*: expected one of positions, late, float8"):
        faulty.main()
