"""The page about diagnostics says what the kept runs have shown."""

import json
import re
from pathlib import Path

import pytest

from experiments.catalogue import EXPERIMENTS, ROOT
from experiments.diagnostics.run import CONFIG, FAILURES, HEALTHY, call, markdown
from rl_reason.errors import RunError
from rl_reason.recipes.checks import OF_RECIPES
from rl_reason.runtime.config import load

PAGE = (ROOT / "docs" / "diagnostics.md").read_text()
KEPT = json.loads(EXPERIMENTS["diagnostics"].file.read_text())
DRAWN = [name for name, failure in FAILURES.items() if failure.metrics]


@pytest.mark.parametrize("name", DRAWN)
def test_tables_and_pictures_are_those_of_the_runs(name):
    assert markdown(KEPT, name) in PAGE
    assert f"](../experiments/diagnostics/{name}.png)" in PAGE
    assert (EXPERIMENTS["diagnostics"].file.parent / f"{name}.png").is_file()


@pytest.mark.parametrize("name", FAILURES)
def test_flags_on_the_page_make_the_run(name, monkeypatch):
    """They are what was run, and nothing that a run refuses."""
    flags = [f"--config.{key}={value}" for key, value in KEPT[name]["changes"].items()]
    for flag in flags:
        assert f"`{flag}`" in PAGE or re.search(re.escape(flag.replace("(", '"(').replace(")", ')"')), PAGE)
    monkeypatch.chdir(ROOT)
    settings = load([f"--config={CONFIG}", *flags]).settings
    OF_RECIPES[settings.recipe](settings)


def test_the_line_of_a_run_that_stopped():
    said = KEPT["not_finite"]["said"]
    assert said.startswith("error: step ") and said.partition("; the last good")[0] in PAGE


def test_metrics_that_are_named_are_recorded():
    """Each name in a table of the page is one that a run wrote."""
    written = {name for run in KEPT.values() for name in run}
    assert {name for name in re.findall(r"^\| `([\w/@]+)` \|", PAGE, re.MULTILINE)} <= written


def test_a_run_that_ends_otherwise_is_told(tmp_path, monkeypatch):
    """One that is to stop and does not has shown nothing."""
    monkeypatch.setattr("experiments.diagnostics.run.COMMON", {})
    monkeypatch.setattr("sys.executable", "/bin/true")
    call(tmp_path / HEALTHY, FAILURES["divergence"])
    with pytest.raises(RunError, match="not_finite ended with exit status 0"):
        call(tmp_path / "not_finite", FAILURES["not_finite"])
    Path(tmp_path / "not_finite").mkdir()
    (tmp_path / "not_finite" / "nonfinite_batch_2.npz").touch()
    call(tmp_path / "not_finite", FAILURES["not_finite"])  # has stopped as it should
