"""Samples as columns: what is read of a line, and the numbers of tokens in their blocks."""

import json

import numpy as np
import pytest

from rl_reason.errors import UsageError
from rl_reason.recipes.rollout_records import packed
from rl_reason.runtime.report import samples
from rl_reason.runtime.report.folders import read_runs
from rl_reason.runtime.report.samples import read_samples


def columns_of(folder, *records):
    (folder / "samples.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return read_samples(read_runs([folder]))


def test_reward_length_and_verdict(made_run):
    made = read_samples(read_runs([made_run()]))
    assert made.numbers["reward"][:2] == pytest.approx([0.1, 1.1])  # the parts by their weights
    assert made.right[:2] == [0, 1]
    assert made.numbers["length"][2] == 12 and made.numbers["step"][2] == 3
    assert made.parts == {"accuracy": [i % 2 for i in range(12)], "format": [1.0] * 12}


@pytest.mark.parametrize(
    "record, reward, right, length",
    [
        ({"completion": "abcd"}, None, -1, 4),
        ({"completion": "", "reward": 2.0, "correct": True, "tokens": [1, 2]}, 2.0, 1, 2),
        ({"completion": [], "rewards": 0.5, "verdict": "timeout", "length": 7}, 0.5, 0, 7),
        ({"completion": "x", "rewards": {"accuracy": None}}, None, -1, 1),
    ],
)
def test_lines_with_other_keys_are_shown_too(made_run, record, reward, right, length):
    made = columns_of(made_run(), {"step": 1, "prompt": [{"role": "user"}]} | record)
    assert (made.numbers["reward"], made.right, made.numbers["length"]) == ([reward], [right], [length])
    assert "user" in next(iter(made.texts["prompt"]))


def test_texts_that_samples_share_are_told_once(made_run):
    made = columns_of(made_run(), *({"completion": str(i), "prompt": f"p{i // 2}", "id": "x"} for i in range(4)))
    assert list(made.texts["prompt"]) == ["p0", "p1"] and made.codes["prompt"] == [0, 0, 1, 1]
    assert made.codes["id"] == [0] * 4 and made.codes["answer"] == [-1] * 4


def test_a_part_that_only_some_samples_have(made_run):
    made = columns_of(made_run(), *({"completion": "", "rewards": part} for part in ({"a": 1}, {"b": 2}, {"a": 3})))
    assert made.parts == {"a": [1, None, 3], "b": [None, 2, None]}


def test_blocks_of_tokens(made_run, monkeypatch):
    """Characters, then each plane, of so many samples together; no numbers where a sample has none."""
    monkeypatch.setattr(samples, "TOKEN_BLOCK", 2)
    known = {"token_characters": packed([2, 0, 3], "<u2"), "token_logprobs": packed([-0.5, -2, -1e9], "<f2")}
    some = {"token_characters": packed([4], "<u2"), "token_advantages": packed([1.5], "<f2")}
    made = columns_of(made_run(), *({"completion": "", **more} for more in (known, some, {}, known)))
    assert made.tokens == [3, 1, 0, 3] and made.known_planes == ["logprobs", "advantages"]
    first, second = made.token_blocks()
    assert np.frombuffer(first[:8], "<u2").tolist() == [2, 0, 3, 4]
    expected = [-0.5, -2, -65504, np.nan, np.nan, np.nan, np.nan, 1.5]
    np.testing.assert_array_equal(np.frombuffer(first[8:], "<f2"), expected)
    assert len(second) == 3 * 3 * 2


@pytest.mark.parametrize(
    "record, told",
    [
        ({"token_characters": "ab?"}, "token_characters='ab?': expected base64"),
        ({"token_characters": packed([1], "<u2"), "token_logprobs": ""}, "token_logprobs: expected 2 bytes, found 0"),
    ],
)
def test_numbers_of_tokens_that_are_none(made_run, record, told):
    with pytest.raises(UsageError, match="step 5, q: ") as raised:
        columns_of(made_run(), {"step": 5, "id": "q", "completion": "", **record})
    assert told in str(raised.value)


def test_of_a_large_file_groups_are_left_out_evenly(made_run, monkeypatch):
    folder = made_run()
    records = [{"step": i // 4, "id": "q", "completion": "x" * 50} for i in range(400)]
    size = sum(len(json.dumps(record)) + 1 for record in records)
    monkeypatch.setattr(samples, "MOST_BYTES", size // 4)
    made = columns_of(folder, *records)
    steps = made.numbers["step"]
    assert made.left_out == [pytest.approx(0.75, abs=0.02)] and len(made) == len(steps) == 100
    # Whole groups, a quarter of them.
    assert all(steps.count(step) == 4 for step in steps)
    assert np.diff(sorted(set(steps))).tolist() == [4] * 24
