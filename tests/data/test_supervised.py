"""Batches for supervised training, read back with the tokenizer."""

import re

import numpy as np
import pytest

from rl_reason.data.supervised import make_batches, mixture_at
from rl_reason.data.templates import question
from rl_reason.data.word_problems import word_problems
from rl_reason.errors import UsageError

ROWS, LENGTH = 6, 400
WORKED, BARE, PLAIN = (("worked", 1.0),), (("bare", 1.0),), (("plain", 1.0),)


@pytest.fixture(scope="module")
def make(tokenizer):
    problems = word_problems("train", "", 0)[:40]

    def batches(stages=((0, WORKED),), seed=0, length=LENGTH, rows=ROWS, problems=problems):
        return make_batches(problems, stages, question, tokenizer, rows, length, tokenizer.pad_token_id, seed)

    batches.problems = {problem["problem"]: problem for problem in problems}
    return batches


def examples_of(batch, tokenizer):
    """(prompt, completion with its end) of every segment, as text; checks that they fill rows from the left."""
    for tokens, segments, weights in zip(batch["tokens"], batch["segments"], batch["weights"], strict=True):
        used = int((segments > 0).sum())
        assert (segments[:used] > 0).all() and (np.diff(segments[:used]) >= 0).all()
        assert not weights[used:].any() and set(np.unique(weights)) <= {0.0, 1.0}
        for number in range(1, int(segments.max()) + 1):
            ids, on = tokens[segments == number], weights[segments == number]
            start = int(np.argmax(on))
            assert not on[:start].any() and on[start:].all()  # the prompt, then the completion to its end
            yield tokenizer.decode(ids[:start]), tokenizer.decode(ids[start:]), int(ids[-1])


def test_shapes_and_kinds(make):
    batch = make()(3)
    assert {name: (x.shape, str(x.dtype)) for name, x in batch.items()} == {
        "tokens": ((ROWS, LENGTH), "int32"),
        "segments": ((ROWS, LENGTH), "int32"),
        "weights": ((ROWS, LENGTH), "float32"),
    }


def test_a_pure_function_of_the_step(make):
    one, other = make(), make()
    forwards = [one(step) for step in range(4)]
    for step in (3, 1, 0, 2):
        for name, array in other(step).items():
            np.testing.assert_array_equal(array, forwards[step][name])
    assert (forwards[0]["tokens"] != forwards[1]["tokens"]).any()
    assert (make(seed=1)(0)["tokens"] != forwards[0]["tokens"]).any()


def test_whole_examples_with_the_mask_on_their_completions(make, tokenizer):
    seen = set()
    for step in range(5):
        batch = make()(step)
        for prompt, completion, last in examples_of(batch, tokenizer):
            problem = make.problems[prompt.removesuffix("\n")]  # the whole prompt, and one of ours
            expected = f"<think>{problem['solution']}</think><answer>{problem['answer']}</answer>"
            assert completion == expected + tokenizer.eos_token and last == tokenizer.eos_token_id
            seen.add(prompt)
        assert (batch["segments"] > 0).mean() > 0.6  # packed
        assert batch["segments"].max() > 1
    assert len(seen) > 20


def test_mixtures_by_stage(make, tokenizer):
    stages = ((0, BARE), (3, (("plain", 0.25), ("worked", 0.75))), (6, WORKED))
    assert [mixture_at(stages, step) for step in (0, 2, 3, 5, 6, 999)] == [
        BARE, BARE, stages[1][1], stages[1][1], WORKED, WORKED,
    ]  # fmt: skip
    batches = make(stages)

    def styles(steps):
        found = []
        for step in steps:
            for _, completion, _ in examples_of(batches(step), tokenizer):
                thought = re.match(r"<think>(.*?)</think>", completion, re.DOTALL)
                found.append("plain" if not thought else "worked" if thought[1] else "bare")
        return found

    assert set(styles(range(3))) == {"bare"}
    mixed = styles(range(3, 6))
    assert set(mixed) == {"plain", "worked"}
    assert 0.05 < mixed.count("plain") / len(mixed) < 0.55
    assert set(styles((6, 50))) == {"worked"}


def test_an_example_that_does_not_fit_is_an_error(make):
    with pytest.raises(UsageError, match=r"config.sampling.max_length=20: problem 'word_problems/train/0/\d+'"):
        make(length=20)(0)


def test_rows_that_stay_empty_are_padding(make):
    """Whatever packing leaves, the shape is the same."""
    for step in range(6):
        batch = make(rows=2, length=300)(step)
        assert batch["tokens"].shape == (2, 300)
        assert not batch["weights"][batch["segments"] == 0].any()
        assert batch["weights"].sum() > 0
