"""The benchmark of the report page, run whole: at the size of a test, and (slow) at the size that it is told of."""

import json
import subprocess
import sys

import pytest

from benchmarks.browser import missing


@pytest.mark.skipif(bool(missing()), reason=missing() or "")
@pytest.mark.parametrize(
    "steps, samples", [(20, 1_000), pytest.param(200, 20_000, marks=pytest.mark.slow)], ids=["small", "of a long run"]
)
def test_a_page_is_opened_searched_and_measured(steps, samples, tmp_path):
    """What the page's script would stumble over ends the command. How long it took is for people to judge."""
    file = tmp_path / "made.json"
    command = [sys.executable, "-m", "benchmarks.report", f"--steps={steps}", f"--samples={samples}", "--repeats=1"]
    done = subprocess.run([*command, f"--json={file}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = json.loads(file.read_text())
    assert (made["steps"], made["samples"]) == (steps, samples) and made["tokens"] > 40 * samples
    assert made["page_bytes"] > made["tokens"]  # Each token has its colour in it.
    assert 0 < made["samples_s"] <= made["ready_s"] and made["search_s"] > 0 and made["thread_s"] > 0
    assert "everything in view is drawn" in done.stdout
