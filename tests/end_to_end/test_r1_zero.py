"""R1-Zero's run in small: a limit that grows, and what is told of self-corrections."""

from __future__ import annotations

from tests.end_to_end.commands import LETTERS, SMALL, read


def test_the_limit_grows(commands, tmp_path):
    run = tmp_path / "run"
    flags = [*SMALL, *LETTERS, "--config.steps=4", "--config.algorithm.minibatches=2", "--config.checkpoint.every=4"]
    flags += ["--config.sampling.lengths=((1, 4), (3, 12))", "--config.reward.overlong=0.5"]
    flags += ["--config.data.name=word_problems"]  # whose prompts are short in the tokens of this model
    config = ["rl_reason.train", "--config=configs/r1_zero_math.py:tiny", f"--config.model.path={commands.model}"]
    commands.succeed([*config, f"--workdir={run}", *flags])
    metrics, samples = read(run / "metrics.jsonl"), read(run / "samples.jsonl")
    assert [record["sampling/limit"] for record in metrics] == [4, 4, 12, 12]
    longest = [record["tokens/completion_max"] for record in metrics]
    assert longest[:2] == [4, 4] and 4 < max(longest[2:]) <= 12
    for sample in samples:
        limit = 4 if sample["step"] < 3 else 12
        assert (sample["finish"] == "stop") or sample["tokens"] == limit
        # The penalty on overlong completions goes by the limit of the step.
        assert abs(sample["rewards"]["overlong"] - min(0, (limit / 2 - sample["tokens"]) / (limit / 2))) < 1e-6
    assert all(record["logprob_difference/max"] < 1e-4 for record in metrics)
    # Evaluations have the final limit from the beginning.
    assert all(record["tokens/completion_max"] > 4 for record in read(run / "eval.jsonl"))
    # Letters at random calculate nothing.
    assert read(run / "corrections.jsonl") == [] and all(record["correction/rate"] == 0 for record in metrics)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert '"corrections": []' in page and "None: no completion that was sampled for training has turned" in page
