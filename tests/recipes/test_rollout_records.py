"""What a step of policy-gradient training leaves on record."""

import base64
import json
from types import SimpleNamespace

import numpy as np
import pytest

from rl_reason.data.iterators import EncodedPrompt
from rl_reason.data.tokenization import decode, train_tokenizer
from rl_reason.recipes import rollout_records
from rl_reason.recipes.evaluation import Samples
from rl_reason.recipes.exploration import Exploration
from rl_reason.recipes.rollout_records import MOST_CORRECTIONS, Corrections, rollout_metrics, sample_records
from rl_reason.rewards.combination import Graded
from rl_reason.settings import Reward

CORRECTED = "1+1=3\nWait: 1+1=2\nso"


def explore(texts, answers, right, group=4):
    """Completions of questions, as long as their texts, with final answers."""
    count = len(texts)
    lengths = np.array([len(text) for text in texts])
    return Exploration(
        asked=[EncodedPrompt(q, [1, 2]) for q in range(count // group)],
        problems=[{"id": f"p{row // group}", "answer": "2"} for row in range(count)],
        texts=list(texts),
        samples=Samples(np.zeros((count, 1), int), np.zeros((count, 1)), lengths, np.ones(count, bool)),
        graded=Graded(
            np.array(right, np.float32), {}, ["correct" if ok else "wrong" for ok in right], list(answers), {}
        ),
    )


def metrics(drawn):
    return rollout_metrics(drawn, {"advantages": np.zeros(len(drawn.texts))}, Reward())


def test_votes_lengths_and_corrections():
    answers = ["2", "2", "3", None, "3", "3", "3", "2"]
    texts = ["a" * n for n in range(1, 8)] + [CORRECTED]
    made = metrics(explore(texts, answers, [a == "2" for a in answers]))
    assert made["maj@4/train"] == 0.5  # of the first question two vote for 2, of the second one does
    assert made["tokens/right"] == pytest.approx((1 + 2 + len(CORRECTED)) / 3)
    assert made["tokens/wrong"] == pytest.approx((3 + 4 + 5 + 6 + 7) / 5)
    assert (made["correction/rate"], made["correction/right"], made["reflection/words"]) == (1 / 8, 1.0, 1 / 8)


def test_what_there_is_none_of_is_left_out():
    """Lengths of right completions where none is right; votes where nothing names an answer, as of programs."""
    none = metrics(explore("abcd", [None] * 4, [False] * 4))
    assert "tokens/right" not in none and none["tokens/wrong"] == 1
    assert "maj@4/train" not in metrics(explore("abcd", [None] * 4, [True] * 4))


def test_the_first_corrections_are_kept_also_behind_a_restart(tmp_path, monkeypatch):
    monkeypatch.setattr(rollout_records, "decode", lambda tokenizer, ids: f"prompt of {len(ids)}")
    drawn = explore([CORRECTED, "1+1=2"] * 4, ["2"] * 8, [True] * 8)
    model, file = SimpleNamespace(tokenizer=None), tmp_path / "corrections.jsonl"
    kept = Corrections(file)
    first = kept.records(3, drawn, model)
    assert [(one["step"], one["id"], one["sample"]) for one in first] == [
        (3, "p0", 0), (3, "p0", 2), (3, "p1", 0), (3, "p1", 2)
    ]  # fmt: skip
    assert [CORRECTED[slice(*first[0][name])] for name in ("wrong", "right")] == ["1+1=3", "1+1=2"]
    assert (first[0]["prompt"], first[0]["answer"], first[0]["verdict"]) == ("prompt of 2", "2", "correct")
    file.write_text("".join(json.dumps(one) + "\n" for one in first))
    for one_of_both in (kept, Corrections(file)):
        later = [one for step in range(4, 12) for one in one_of_both.records(step, drawn, model)]
        assert len(first) + len(later) == MOST_CORRECTIONS
        assert later[-1]["step"] == 3 + MOST_CORRECTIONS // 4 - 1


def test_what_is_known_of_tokens_stands_in_samples():
    """As many numbers as a completion has tokens, of the rows that are shown; advantages where tokens differ."""
    tokenizer = train_tokenizer(["2+2=4 so 4"] * 20, 270)
    rows = [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in ("2+2=4", "so", "4", "2")]
    lengths = np.array([len(row) for row in rows])
    shape = (4, lengths.max())
    tokens = np.array([row + [0] * (shape[1] - len(row)) for row in rows])
    drawn = explore([decode(tokenizer, row) for row in rows], "4444", [True, False, True, False])
    drawn.samples.__dict__.update(tokens=tokens, lengths=lengths)
    numbers = -np.arange(tokens.size, dtype=np.float32).reshape(shape)
    batch = {"advantages": np.ones(4), "sampler_logprobs": numbers, "reference_logprobs": numbers / 2}
    made = sample_records(3, 2, drawn, batch, SimpleNamespace(tokenizer=tokenizer))
    assert [one["completion"] for one in made] == ["2+2=4", "so"]
    read = lambda one, key, kind: np.frombuffer(base64.b64decode(one[key]), kind)  # noqa: E731
    for row, one in enumerate(made):
        characters = read(one, "token_characters", "<u2")
        assert characters.sum() == len(one["completion"]) and len(characters) == one["tokens"] == lengths[row]
        np.testing.assert_array_equal(read(one, "token_logprobs", "<f2"), numbers[row, : lengths[row]])
        np.testing.assert_array_equal(read(one, "token_reference_logprobs", "<f2"), numbers[row, : lengths[row]] / 2)
        assert "token_advantages" not in one and one["advantage"] == 1
    of_tokens = {"advantages": numbers, "sampler_logprobs": numbers}
    (first,) = sample_records(3, 1, drawn, of_tokens, SimpleNamespace(tokenizer=tokenizer))
    np.testing.assert_array_equal(read(first, "token_advantages", "<f2"), numbers[0, : lengths[0]])
    assert "token_reference_logprobs" not in first
