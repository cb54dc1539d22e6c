"""`rl_reason.compare`: what it tells of two folders, and which ones it refuses."""

from __future__ import annotations

import json
import sys

import pytest

from rl_reason import compare

ABOUT = {"grader": "number", "grader_version": "rl_reason 0.1.0", "data_sha256": "a", "data": "gsm8k", "samples": 1}


def write(folder, shares, samples=1, **about):
    """The output of an evaluation in which so many samples of each problem are right."""
    folder.mkdir()
    rows = [{"id": id, "sample": g, "correct": g < right} for id, right in shares.items() for g in range(samples)]
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    mean = sum(shares.values()) / len(shares) / samples
    figures = {"model": folder.name, "samples": samples, "pass@1": mean, "pass@1_ci95": [0.0, 1.0]}
    (folder / "results.json").write_text(json.dumps({**ABOUT, **figures, **about}))
    return folder


@pytest.fixture
def tell(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["compare", *map(str, arguments)])
        compare.main()
        return capsys.readouterr().out

    return run


def test_greedy(tell, tmp_path):
    a = write(tmp_path / "a", {f"q{i}": int(i < 10) for i in range(40)})
    b = write(tmp_path / "b", {f"q{i}": int(i != 3 and i < 16) for i in reversed(range(40))})
    out = tell(a, b, f"--json={tmp_path / 'c.json'}", "--changed=3")
    assert "pass@1, A" in out and "25.0%" in out and "37.5%" in out and "+12.5 points" in out
    assert "6, 1, 33" in out and "McNemar's exact test, p" in out and "number (rl_reason 0.1.0)" in out
    assert [line for line in out.splitlines() if "q3 " in line and "100%" in line and "0%" in line]
    assert sum("%" in line and " q" in line for line in out.splitlines()) == 3
    made = json.loads((tmp_path / "c.json").read_text())
    assert made["difference"] == pytest.approx(0.125) and made["p"] == pytest.approx(0.125)
    assert (made["better"], made["worse"]) == (6, 1)
    assert made["changes"]["q3"] == -1 and made["changes"]["q15"] == 1 and len(made["changes"]) == 40
    low, high = made["difference_ci95"]
    assert low < 0.125 < high


def test_different_numbers_of_samples(tell, tmp_path):
    a = write(tmp_path / "a", {"x": 1, "y": 2}, samples=4)
    b = write(tmp_path / "b", {"x": 2, "y": 1}, samples=2)
    out = tell(a, b, "--changed=0")
    assert "+37.5 points" in out and "exact sign test" in out and "changed most" not in out


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ({"grader": "accuracy"}, "different graders, 'number' and 'accuracy'"),
        ({"grader_version": "rl_reason 0.2.0"}, "different versions of the grader"),
        ({"data_sha256": "b"}, "different problems"),
    ],
)
def test_what_cannot_be_compared_is_refused(refusal, tmp_path, about, says):
    a, b = write(tmp_path / "a", {"x": 1}), write(tmp_path / "b", {"x": 1}, **about)
    line = refusal(compare.main, [str(a), str(b)])
    assert says in line and str(a) in line and str(b) in line


def test_other_folders_are_refused(refusal, tmp_path):
    a = write(tmp_path / "a", {"x": 1})
    assert "expected two folders" in refusal(compare.main, [str(a)])
    assert "expected two folders" in refusal(compare.main, [])
    assert "unexpected argument" in refusal(compare.main, [str(a), str(a), str(a)])
    assert "found no results.json" in refusal(compare.main, [str(a), str(tmp_path)])
    assert "--changed=-1" in refusal(compare.main, [str(a), str(a), "--changed=-1"])
    b = write(tmp_path / "b", {"y": 1})
    assert "other ids" in refusal(compare.main, [str(a), str(b)])
    (b / "results.json").write_text('{"pass@1": 1}')
    assert "no 'grader'" in refusal(compare.main, [str(a), str(b)])
    (b / "results.json").write_text("{")
    assert "expected JSON" in refusal(compare.main, [str(a), str(b)])
