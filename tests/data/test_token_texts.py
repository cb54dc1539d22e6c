"""Which part of a text each token is: the parts are the text, whatever bytes tokens are made of."""

import random

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from rl_reason.data.token_texts import token_characters
from rl_reason.data.tokenization import decode, train_tokenizer

TOKENIZER = train_tokenizer(["one line\nanother line\n\nand 3*4=12\n"] * 50, 300)


def sentencepiece():
    """One that leaves out the first space of a text, as Llama 2's does, so that no token says by itself what it is."""
    words = {piece: i for i, piece in enumerate(["<unk>", "</s>", "▁the", "▁answer", "s", "▁", "3"])}
    made = Tokenizer(models.BPE(vocab=words, merges=[], unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</s>", clean_up_tokenization_spaces=False)


def parts(tokenizer, ids):
    text = decode(tokenizer, ids)
    (counts,) = token_characters(tokenizer, [ids], [text])
    ends = [sum(counts[: i + 1]) for i in range(len(ids))]
    assert len(counts) == len(ids) and ends[-1] == len(text)
    return [text[end - count : end] for count, end in zip(counts, ends, strict=True)]


def test_tokens_that_are_whole_texts():
    ids = [*TOKENIZER("3*4=12\n")["input_ids"], TOKENIZER.eos_token_id]
    made = parts(TOKENIZER, ids)
    assert made[-1] == "" and made[:-1] == [TOKENIZER.decode([i]) for i in ids[:-1]]


def test_a_character_of_several_tokens_belongs_to_the_one_that_ends_it():
    ids = TOKENIZER("a你😀b")["input_ids"]
    assert parts(TOKENIZER, ids) == ["a", "", "", "你", "", "", "", "😀", "b"]


def test_a_tokenizer_that_leaves_out_the_first_space():
    assert parts(sentencepiece(), [2, 3, 4, 5, 6, 1]) == ["the", " answer", "s", " ", "3", ""]


@pytest.mark.parametrize("length", [1, 5, 200])
def test_bytes_that_are_no_text(length):
    drawn = random.Random(length)
    for _ in range(30):
        parts(TOKENIZER, [drawn.randrange(len(TOKENIZER)) for _ in range(length)])


def test_a_text_that_was_cut_off():
    ids = TOKENIZER("one line")["input_ids"]
    (counts,) = token_characters(TOKENIZER, [ids], ["one l"])
    assert sum(counts) == 5 and min(counts) >= 0
