"""Stages one behind the other, the second of which fails at first."""

import json

from rl_reason.data.generated import DESCRIPTION, shard, write_shard
from tests.end_to_end.commands import read

ROWS = [
    {"id": "a", "sample": 0, "problem": "1+1?", "answer": "2", "completion": "1+1=2", "finish": "stop"},
    {"id": "a", "sample": 1, "problem": "1+1?", "answer": "2", "completion": "1+1=3", "finish": "stop"},
    {"id": "b", "sample": 0, "problem": "2+2?", "answer": "4", "completion": "2+2=4", "finish": "length"},
]


def generate(folder, rows):
    """What `rl_reason.generate` would have made."""
    folder.mkdir(exist_ok=True)
    write_shard(shard(folder, 0, "jsonl"), rows)
    told = {"finished": True, "format": "jsonl", "shards": 1, "problems": 2, "samples": 2}
    (folder / DESCRIPTION).write_text(json.dumps(told | {"counts": {"samples": len(rows)}}))


def test_a_pipeline_keeps_what_it_has_when_a_stage_fails_and_goes_on_there(commands, tmp_path):
    workdir, generated = tmp_path / "run", tmp_path / "generated"
    arguments = [
        "rl_reason.train",
        f"--config=tests/end_to_end/small_pipeline.py:{generated}",
        f"--workdir={workdir}",
        f"--config.stages.first.model.path={commands.model}",
    ]
    generate(generated, ROWS[1:])
    failed = commands.run(arguments)
    assert failed.returncode == 1
    last = failed.stderr.strip().splitlines()[-1]
    assert last.startswith("error: stage 'chosen': ") and "2 sampled, 1 ended, 0 with number ≥ 1" in last
    export = workdir / "first" / "export" / "model.safetensors"
    made = export.read_bytes(), export.stat().st_mtime_ns

    # Somebody sees to it that there is something to choose from.
    generate(generated, ROWS)
    done = commands.succeed(arguments)
    assert "stage 1 of 3, first: is done" in done.stdout
    assert made == (export.read_bytes(), export.stat().st_mtime_ns)
    (chosen,) = read(workdir / "chosen" / "selected.jsonl")
    assert chosen == {"id": "a/0", "problem": "1+1?", "answer": "2", "solution": "1+1=2"}
    rows = json.loads((workdir / "stages_table.json").read_text())
    assert [row["stage"] for row in rows] == ["first", "chosen", "second"]
    assert "[" in rows[2]["pass@1 after"] and rows[2]["data set"] == "word_problems/test"

    # The records are those of one run whose steps are counted through.
    assert [(r["step"], r["stage"]) for r in read(workdir / "metrics.jsonl")] == [(1, 1), (2, 1), (3, 3), (4, 3)]
    assert [(r["step"], r["stage"]) for r in read(workdir / "eval.jsonl")] == [(2, "second"), (4, "second")]
    assert "second" in (workdir / "report.html").read_text() and (workdir / "curves.png").stat().st_size > 1000

    # What a later stage was made from is not what is there: it is not taken for finished.
    again = commands.run([*arguments, "--config.stages.first.steps=3"])
    assert again.returncode == 2
    assert "stage 'second'" in again.stderr and "was made from another 'first'" in again.stderr
