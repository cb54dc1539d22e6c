"""The picture and the table of Minerva's experiment, of runs whose evaluations on the way are smaller."""

from __future__ import annotations

import json

import pytest

from experiments.minerva import run


@pytest.fixture
def runs(tmp_path):
    """Two seeds of each arm: mixture rises to 0.5 greedy and 0.6 by majority on the first, 0.1 more on the second."""
    for number, seed in enumerate((3, 4)):
        for arm, last in (("mixture", 0.5 + number / 10), ("general", 0.0)):
            folder = tmp_path / f"seed{seed}_{arm}"
            folder.mkdir()
            whole = lambda value: {"pass@1": value, "maj@4": value, "maj@16": value + 0.1, "greedy": value}  # noqa: E731
            answers = {0: whole(0.0), 5: {"pass@1": last / 2, "greedy": last / 2}, 9: whole(last)}
            rows = [{"step": step, "dataset": "word_problems/test", **found} for step, found in answers.items()]
            rows += [{"step": s, "dataset": of, "perplexity": 9.0 - s / 2} for s in answers for of in run.SOURCES]
            (folder / "eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_reads_draws_and_tells(runs, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    results = {arm: [run.read(runs / f"seed{seed}_{arm}") for seed in (3, 4)] for arm in run.ARMS}
    assert results == json.loads(json.dumps(results))
    run.draw(results, runs / "minerva.png")
    assert (runs / "minerva.png").read_bytes().startswith(b"\x89PNG")
    run.show(results)
    told = capsys.readouterr().out
    assert "55.0 ± 63.5" in told and "majority of 16 less greedy, exercises and remarks: 10.0 ± 0.0 points" in told
