"""Prompts: encoded up front, in shuffled epochs, resumable, padded on the left."""

import json

import numpy as np
import pytest

from rl_reason.data.iterators import encode_all, left_pad, prompt_iterator
from rl_reason.errors import UsageError

PROBLEMS = [{"id": f"p/{i}", "problem": "7 " * (i + 1)} for i in range(6)]


def take(iterator, n: int) -> list:
    return [next(iterator) for _ in range(n)]


def test_encode_all_keeps_the_order_and_the_place_in_the_source(tokenizer):
    prompts = encode_all(PROBLEMS, "none", tokenizer, 1000)
    assert [prompt.index for prompt in prompts] == list(range(6))
    assert tokenizer.decode(prompts[2].prompt_ids) == PROBLEMS[2]["problem"]


def test_a_prompt_that_is_too_long_is_an_error_that_names_it(tokenizer):
    lengths = [len(prompt.prompt_ids) for prompt in encode_all(PROBLEMS, "none", tokenizer, 1000)]
    with pytest.raises(UsageError) as error:
        encode_all(PROBLEMS, "none", tokenizer, lengths[3])
    for part in ("'p/4'", f"{lengths[4]} tokens", f"config.data.max_prompt_length={lengths[3]}"):
        assert part in str(error.value)
    assert "drop" not in str(error.value)  # Who asks so cannot.
    with pytest.raises(UsageError, match="or config.data.long_prompts='drop'"):
        encode_all(PROBLEMS, "none", tokenizer, lengths[3], "error")


def test_prompts_that_are_too_long_are_dropped_and_counted(tokenizer, caplog):
    lengths = [len(prompt.prompt_ids) for prompt in encode_all(PROBLEMS, "none", tokenizer, 1000)]
    kept = encode_all(PROBLEMS[::-1], "none", tokenizer, lengths[3], "drop")
    assert [prompt.index for prompt in kept] == [2, 3, 4, 5]
    assert "dropped 2 of 6" in caplog.text
    with pytest.raises(UsageError, match="none of 6"):
        encode_all(PROBLEMS, "none", tokenizer, 0, "drop")


def test_another_way_with_long_prompts_is_refused(tokenizer):
    with pytest.raises(UsageError, match="config.data.long_prompts='cut'"):
        encode_all(PROBLEMS, "none", tokenizer, 1000, "cut")


def test_an_epoch_shows_every_problem_once_and_the_next_in_another_order():
    iterator = prompt_iterator(range(24), 4, seed=0)
    epochs = [sum(take(iterator, 6), []) for _ in range(3)]
    assert all(sorted(epoch) == list(range(24)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


@pytest.mark.parametrize(("size", "batch_size"), [(10, 4), (7, 7), (9, 5), (1, 1)])
def test_no_batch_holds_a_problem_twice_and_none_is_left_out_for_ever(size, batch_size):
    batches = take(prompt_iterator(range(size), batch_size, seed=1), 60)
    assert all(len(batch) == len(set(batch)) == batch_size for batch in batches)
    assert set(sum(batches, [])) == set(range(size))


def test_the_order_is_that_of_the_seed():
    orders = [sum(take(prompt_iterator(range(50), 5, seed), 10), []) for seed in (3, 3, 4, -1)]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2] and orders[0] != orders[3]


@pytest.mark.parametrize("steps", [0, 1, 4, 11])
def test_a_saved_position_goes_on_with_the_same_sequence(steps):
    straight = take(prompt_iterator(range(10), 3, seed=5), 20)
    first = prompt_iterator(range(10), 3, seed=5)
    take(first, steps)
    state = json.loads(json.dumps(first.get_state()))
    second = prompt_iterator(range(10), 3, seed=5)
    take(second, 2)  # a position it had is given up
    second.set_state(state)
    assert take(second, 20 - steps) == straight[steps:]


def test_batches_hold_the_elements_themselves(tokenizer):
    prompts = encode_all(PROBLEMS, "none", tokenizer, 1000)
    batch = next(prompt_iterator(prompts, 6, seed=0))
    assert sorted(batch) == prompts


@pytest.mark.parametrize("batch_size", [0, 7])
def test_a_batch_that_the_problems_do_not_fill_is_refused(batch_size):
    with pytest.raises(UsageError, match=f"={batch_size} problems a step: config.data.name has 6"):
        prompt_iterator(PROBLEMS, batch_size, seed=0)


def test_left_pad():
    prompts, lengths = left_pad([[1, 2], [], [3, 4, 5]], 3, 9)
    np.testing.assert_array_equal(prompts, [[9, 1, 2], [9, 9, 9], [3, 4, 5]])
    np.testing.assert_array_equal(lengths, [2, 0, 3])
    assert prompts.dtype == lengths.dtype == np.int32
    with pytest.raises(ValueError, match="3 tokens"):
        left_pad([[1, 2, 3]], 2, 9)
