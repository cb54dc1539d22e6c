import random

import pytest

from rl_reason.data.steps import join_steps, make_step_ends
from rl_reason.data.tokenization import train_tokenizer

TOKENIZER = train_tokenizer(["one line\nanother line\n\nand 3*4=12\n"] * 50, 300)


def cut_text(text, separator="\n"):
    """The text of each step, by its tokens."""
    tokens = [*TOKENIZER(text)["input_ids"], TOKENIZER.eos_token_id]
    ends = make_step_ends(TOKENIZER, separator)(tokens)
    assert ends == sorted(set(ends)) and ends[-1] == len(tokens) - 1
    starts = [0, *(end + 1 for end in ends[:-1])]
    return [TOKENIZER.decode(tokens[a : b + 1], skip_special_tokens=True) for a, b in zip(starts, ends, strict=True)]


@pytest.mark.parametrize(
    "text, steps",
    [
        ("3*4=12\n12+1=13", ["3*4=12\n", "12+1=13"]),
        ("3*4=12\n12+1=13\n", ["3*4=12\n", "12+1=13\n"]),  # The end of the text is no step.
        ("one\n\n\nanother", ["one\n\n\n", "another"]),
        ("\n\none\nanother", ["\n\none\n", "another"]),
        ("one line", ["one line"]),
        ("", [""]),
        (" \n \n", [" \n \n"]),
    ],
)
def test_lines(text, steps):
    assert cut_text(text) == steps


def test_a_separator_of_several_tokens():
    assert cut_text("one lineSTEPanother lineSTEP", "STEP") == ["one lineSTEP", "another lineSTEP"]


def test_no_tokens_no_steps():
    assert make_step_ends(TOKENIZER, "\n")([]) == []


@pytest.mark.parametrize("seed", range(200))
def test_as_many_as_lines_that_are_not_blank(seed):
    """Against the text: whatever the tokens are, each step holds one line that is not blank."""
    rng = random.Random(seed)
    text = "".join(rng.choices("ab1 \n\né", k=rng.randint(0, 24)))
    steps = cut_text(text)
    assert "".join(steps) == text
    full = [line for line in text.split("\n") if line.strip()]
    assert [step.strip("\n").strip() for step in steps if step.strip()] == [line.strip() for line in full]


def test_joined_steps_are_found_again():
    assert cut_text(join_steps(["one\nline", " another "], "\n")) == ["one line\n", "another"]
