"""A reward that raises, hangs, dies or returns NaN costs its own samples, is counted and told, and the run goes on."""

from __future__ import annotations

import json
import os

from tests.end_to_end.commands import read

KINDS = {"raise": "error", "hang": "timeout", "nan": "nonfinite", "die": "crash"}


def test_a_run_survives_them(commands, tmp_path):
    # Two good problems and one for each trouble: a step of six questions meets them all.
    troubles = [None, None, *KINDS]
    rows = [
        {"id": f"problem-{trouble or index}", "problem": f"What is {index} + 1?", "answer": str(index + 1)}
        | ({"trouble": trouble} if trouble else {})
        for index, trouble in enumerate(troubles)
    ]
    file = tmp_path / "data.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = ["--config.reward.names=('user_rewards:troubled',)", "--config.reward.timeout=0.5"]
    flags += [f"--config.data.name={file}", "--config.data.problems=0", "--config.evaluation.problems=2"]
    flags += ["--config.algorithm.group_size=2", "--config.algorithm.batch_size=12", "--config.log.samples=0"]
    flags += ["--config.steps=2", "--config.evaluation.every=0", "--config.evaluation.samples=1"]
    done = commands.succeed(commands.grpo(tmp_path / "run", *flags))

    metrics = read(tmp_path / "run" / "metrics.jsonl")
    assert [record["step"] for record in metrics] == [1, 2]
    for record in metrics:
        for kind in KINDS.values():
            assert record[f"grader/{kind}"] == 2, kind
        # What raises or returns NaN has crashed: it did not judge.
        verdicts = {name.removeprefix("verdict/"): n for name, n in record.items() if name.startswith("verdict/")}
        assert verdicts.pop("correct") + verdicts.pop("wrong") == 2 * 2
        assert verdicts == {"unparseable": 0, "timeout": 2, "crash": 6}
        # The good problems keep their rewards.
        assert record["reward/mean"] > 0 and record["optimizer/grad_norm"] > 0

    samples = read(tmp_path / "run" / "samples.jsonl")
    assert len(samples) == 2 * 2 * len(KINDS)
    for sample in samples:
        trouble = sample["id"].removeprefix("problem-")
        assert sample["failure"]["kind"] == KINDS[trouble]
        assert sample["failure"]["part"] == "user_rewards:troubled" and sample["failure"]["message"]
        assert sample["reward"] == 0 and sample["completion"] is not None
    messages = {sample["failure"]["kind"]: sample["failure"]["message"] for sample in samples}
    assert "RuntimeError: no such luck" in messages["error"] and "0.5 s" in messages["timeout"]
    assert "3" in messages["crash"] and "nan" in messages["nonfinite"]

    notes = [line for line in done.stderr.splitlines() if "user_rewards:troubled" in line]
    assert {line.split(":")[0] for line in notes} == {"step 1", "step 2"}
    for line in notes:
        trouble = next(name for name in KINDS if f"problem-{name}" in line)
        assert KINDS[trouble] in line


def test_a_reward_that_no_worker_can_import(commands, tmp_path):
    """It can be imported by the command and not by its workers: a failure at run time, told in one line."""
    module = tmp_path / "only_once.py"
    module.write_text(
        "import os, sys\nif 'jax' not in sys.modules:\n    raise ImportError('not here')\n\n"
        "def reward(completion, problem):\n    return 1.0\n"
    )
    paths = commands.environment()["PYTHONPATH"] + os.pathsep + str(tmp_path)
    flags = ["--config.reward.names=('only_once:reward',)"]
    done = commands.run(commands.grpo(tmp_path / "run", *flags), PYTHONPATH=paths)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "only_once:reward" in errors[0] and "not here" in errors[0]
    assert "Traceback" not in done.stderr
