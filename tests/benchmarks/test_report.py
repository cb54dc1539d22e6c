"""The benchmark of the report page, run whole: at the size of a test, and (slow) at the size that it is told of."""

import json
import subprocess
import sys
from contextlib import nullcontext

import pytest

from benchmarks import report
from benchmarks.browser import missing
from rl_reason.errors import RunError, run_command

needs_browser = pytest.mark.skipif(bool(missing()), reason=missing() or "")


@needs_browser
@pytest.mark.parametrize(
    "steps, samples", [(20, 1_000), pytest.param(200, 20_000, marks=pytest.mark.slow)], ids=["small", "of a long run"]
)
def test_a_page_is_opened_searched_and_measured(steps, samples, tmp_path):
    """What the page's script would stumble over ends the command, and so does a page that takes too long."""
    file = tmp_path / "made.json"
    command = [sys.executable, "-m", "benchmarks.report", f"--steps={steps}", f"--samples={samples}", "--repeats=1"]
    done = subprocess.run([*command, f"--json={file}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = json.loads(file.read_text())
    assert (made["steps"], made["samples"]) == (steps, samples) and made["tokens"] > 40 * samples
    assert made["page_bytes"] > made["tokens"]  # Each token has its colour in it.
    assert 0 < made["samples_s"] <= made["ready_s"] and made["search_s"] > 0 and made["thread_s"] > 0
    assert "everything in view is drawn" in done.stdout


@needs_browser
def test_a_page_that_takes_too_long_is_a_failure_behind_the_table(monkeypatch, capsys, tmp_path):
    file = tmp_path / "made.json"
    monkeypatch.setattr(report, "LIMIT", 1e-4)
    monkeypatch.setattr(sys, "argv", ["report", "--steps=2", "--samples=20", "--repeats=1", f"--json={file}"])
    with pytest.raises(SystemExit) as ended:
        run_command(report.main)
    assert ended.value.code == 1
    out, err = capsys.readouterr()
    assert "size of the page" in out
    made = json.loads(file.read_text())
    told = f"table of samples can be used: {made['samples_s']:.2f} s, processor time of its main thread: "
    assert err.splitlines()[-1] == f"error: {told}{made['thread_s']:.2f} s; expected at most 0.0001 s"


@pytest.mark.parametrize("late, fails", [("samples_s", True), ("thread_s", True), ("ready_s", False)])
def test_two_figures_are_held_to_the_limit(late, fails, monkeypatch, capsys):
    found = {name: 9.0 if name == late else 2.0 for name in ("samples_s", "ready_s", "search_s", "thread_s")}
    monkeypatch.setattr(report, "missing", lambda: "")
    monkeypatch.setattr(report, "_opened", lambda page, repeats: found)
    monkeypatch.setattr(sys, "argv", ["report", "--steps=1", "--samples=10"])
    with pytest.raises(RunError, match=r"^[\w ]+: 9\.00 s; expected at most 3 s$") if fails else nullcontext():
        report.main()
    assert capsys.readouterr().out.count(" 3 s ") == 2
