"""Batches for supervised training, read back with the tokenizer."""

import re

import numpy as np
import pytest

from rl_reason.data.supervised import make_batches, make_examples, mixture_at
from rl_reason.data.templates import question
from rl_reason.data.word_problems import word_problems
from rl_reason.errors import UsageError
from rl_reason.objectives.reductions import token_weights

ROWS, LENGTH = 6, 400
WORKED, BARE, PLAIN = (("worked", 1.0),), (("bare", 1.0),), (("plain", 1.0),)


@pytest.fixture(scope="module")
def make(tokenizer):
    problems = word_problems("train", "", 0)[:40]

    def batches(stages=((0, WORKED),), seed=0, length=LENGTH, rows=ROWS, problems=problems, long_prompts="error",
                reduction="token_mean"):  # fmt: skip
        examples = make_examples(
            problems, stages, question, tokenizer, [tokenizer.eos_token_id], length, "config.sampling.max_length",
            long_prompts, seed,
        )  # fmt: skip
        return make_batches(examples, rows, length, tokenizer.pad_token_id, reduction, seed)

    batches.problems = {problem["problem"]: problem for problem in problems}
    return batches


def in_turn(batches, steps):
    """The batches of these steps, each behind the one before."""
    taken = 0
    for step in steps:
        batch, taken = batches(step, taken)
        yield batch


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
    batch, _ = make()(3, 0)
    assert {name: (x.shape, str(x.dtype)) for name, x in batch.items()} == {
        "tokens": ((ROWS, LENGTH), "int32"),
        "segments": ((ROWS, LENGTH), "int32"),
        "weights": ((ROWS, LENGTH), "float32"),
    }


def test_goes_on_from_what_was_taken(make):
    """Nothing but a number is kept between the batches, and others may be asked for in any order."""
    batches, taken = make(), [0]
    forwards = []
    for step in range(8):
        batch, after = batches(step, taken[-1])
        forwards.append(batch)
        taken.append(after)
    again = make()
    for step in (7, 1, 0, 5):
        batch, after = again(step, taken[step])
        assert after == taken[step + 1]
        for name, array in batch.items():
            np.testing.assert_array_equal(array, forwards[step][name])
    assert (make(seed=1)(0, 0)[0]["tokens"] != forwards[0]["tokens"]).any()


def test_an_epoch_takes_every_example(make, tokenizer):
    """Exactly: one row a batch holds examples in their order."""
    batches, taken, seen = make(rows=1), 0, []
    while taken < 2 * len(make.problems):
        batch, taken = batches(0, taken)
        seen += [prompt for prompt, _, _ in examples_of(batch, tokenizer)]
    one, two = seen[: len(make.problems)], seen[len(make.problems) : 2 * len(make.problems)]
    assert sorted(one) == sorted(two) == sorted(f"{problem}\n" for problem in make.problems) and one != two


@pytest.mark.parametrize("reduction", ["token_mean", "sequence_mean"])
def test_weights_of_a_reduction(make, reduction):
    """Those of `token_weights` with an example a row, whatever the packing; their sum is its denominator."""
    batch, _ = make(reduction=reduction)(0, 0)
    masks = []
    for segments, weights in zip(batch["segments"], batch["weights"], strict=True):
        for number in range(1, int(segments.max()) + 1):
            masks.append(np.pad(weights[segments == number], (0, LENGTH - int((segments == number).sum()))))
    made = np.array(masks)
    expected, denominator = token_weights((made > 0).astype(np.float32), reduction, 0)
    np.testing.assert_allclose(made, expected, rtol=1e-6)
    np.testing.assert_allclose(batch["weights"].sum(), denominator, rtol=1e-6)
    assert len(set((made > 0).sum(axis=1).tolist())) > 3


def test_whole_examples_with_the_mask_on_their_completions(make, tokenizer):
    seen = set()
    for batch in in_turn(make(), range(5)):
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
        for batch in in_turn(batches, steps):
            for _, completion, _ in examples_of(batch, tokenizer):
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
        make(length=20)


def test_longer_ones_are_dropped_and_counted(make, tokenizer, caplog):
    batches = make(length=110, rows=1, long_prompts="drop")
    left = 40 - int(re.search(r"dropped (\d+) of 40 examples longer than 110 tokens", caplog.text)[1])
    assert 0 < left < 40
    taken, seen = 0, set()
    while taken < left:
        batch, taken = batches(0, taken)
        seen |= {prompt for prompt, _, _ in examples_of(batch, tokenizer)}
    assert len(seen) == left
    with pytest.raises(UsageError, match="none of 40 examples is left"):
        make(length=20, long_prompts="drop")


def test_problems_that_are_made_are_encoded_when_they_are_drawn(make, tokenizer):
    batches = make(problems=word_problems("train", "", 0))
    batch, taken = batches(1, 0)
    assert len(list(examples_of(batch, tokenizer))) == taken > 10
    with pytest.raises(UsageError, match="config.sampling.max_length=20"):
        make(problems=word_problems("train", "", 0), length=20)(1, 0)


def test_rows_that_stay_empty_are_padding(make):
    """Whatever packing leaves, the shape is the same."""
    for batch in in_turn(make(rows=2, length=300), range(6)):
        assert batch["tokens"].shape == (2, 300)
        assert not batch["weights"][batch["segments"] == 0].any()
        assert batch["weights"].sum() > 0
