"""Tokenizers: text comes back exactly, the same texts make the same tokenizer, folders load, bad usage is named."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from rl_reason.data import tokenization
from rl_reason.errors import UsageError

TEXTS = ["", " ", "\n", "\t\x00\x7f", "é👍🏽\u200d\u0301 中文", "<th", "</think"]
TEXTS += ["a b  c\n\n 12,345 + 6 = ?", "don't stop .", "x , y !"]


def random_texts(n: int) -> list[str]:
    rng = random.Random(0)
    ranges = [(0, 127), (0x80, 0x2FF), (0x300, 0x36F), (0x2000, 0x206F), (0x4E00, 0x4FFF), (0x1F300, 0x1FAFF), (32, 32)]
    texts = []
    for _ in range(n):
        pieces = [chr(rng.randint(*rng.choice(ranges))) for _ in range(rng.randint(0, 40))]
        pieces += rng.choices(["<think>", "</answer>", "  ", "12", " n't", " ."], k=3)
        rng.shuffle(pieces)
        texts.append("".join(pieces))
    return texts


def encode(tokenizer, text: str) -> list[int]:
    return tokenization.encode_prompt({"problem": text}, "none", tokenizer)


def test_any_text_comes_back_exactly(tokenizer):
    for text in TEXTS + random_texts(500):
        assert tokenization.decode(tokenizer, encode(tokenizer, text)) == text


def test_any_text_comes_back_from_a_saved_folder_too(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    loaded = tokenization.load_tokenizer(str(tmp_path))
    for text in TEXTS + random_texts(100):
        ids = encode(tokenizer, text)
        assert encode(loaded, text) == ids
        assert tokenization.decode(loaded, ids) == text


@pytest.mark.parametrize("model_type", ["qwen2", "llama"])
def test_the_kind_of_the_model_in_the_folder_does_not_change_the_tokenizer(tokenizer, tmp_path, model_type):
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type, "vocab_size": len(tokenizer)}))
    loaded = tokenization.load_tokenizer(str(tmp_path))
    text = "Tom has 123 apples.\n<think>12+3</think>"
    assert encode(loaded, text) == encode(tokenizer, text)
    assert tokenization.decode(loaded, encode(loaded, text)) == text


def test_digits_stand_alone_and_words_carry_their_space(tokenizer):
    pieces = tokenizer.convert_ids_to_tokens(encode(tokenizer, "2024 apples"))
    assert pieces[:4] == ["2", "0", "2", "4"]
    assert pieces[4].startswith("Ġ") and len(pieces[4]) > 1


def test_characters_of_number_words_stand_alone():
    """As digits do: what is read of 十二 is the ten and the two; other Chinese words are tokens as a whole."""
    made = tokenization.train_tokenizer(["小明有十二个苹果。", "小明有两个苹果。"] * 50, 400)
    pieces = [made.decode([id]) for id in made("小明有十二个苹果。")["input_ids"]]
    assert pieces == ["小明有", "十", "二", "个苹果", "。"]


def test_tags_are_single_tokens_that_decoding_keeps_and_special_tokens_are_not(tokenizer):
    for tag in tokenization.TAGS:
        ids = encode(tokenizer, tag)
        assert len(ids) == 1
        assert tokenization.decode(tokenizer, [*ids, tokenizer.eos_token_id, tokenizer.pad_token_id]) == tag
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_the_vocabulary_is_as_large_as_asked_for(shared_data):
    rows = [json.loads(line) for line in (shared_data / "math" / "gsm8k_test.jsonl").open(encoding="utf-8")]
    tokenizer = tokenization.train_tokenizer([row["problem"] for row in rows], 400)
    assert len(tokenizer) == 400
    assert max(tokenizer.get_vocab().values()) == 399


def test_training_is_deterministic_across_processes():
    program = (
        "import json; from rl_reason.data.tokenization import train_tokenizer\n"
        "texts = [' '.join(str(i * j) + chr(97 + j) * 3 for j in range(20)) for i in range(50)]\n"
        "print(json.dumps(sorted(train_tokenizer(texts, 330).get_vocab().items())))"
    )
    root = Path(__file__).parents[2]
    outputs = {
        subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, check=True, text=True).stdout
        for _ in range(2)
    }
    assert len(outputs) == 1


def test_a_vocabulary_without_room_for_the_bytes_is_refused():
    with pytest.raises(UsageError, match="tokenizer_size=200"):
        tokenization.train_tokenizer(["a"], 200)


@pytest.mark.parametrize("path", ["./missing", "~/missing/tokenizer", "/missing/tokenizer", "a/b/c", ""])
def test_a_missing_folder_is_named(path):
    with pytest.raises(UsageError) as error:
        tokenization.load_tokenizer(path)
    assert repr(path) in str(error.value) and "\n" not in str(error.value)


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(UsageError, match="cannot load") as error:
        tokenization.load_tokenizer(str(tmp_path))
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


def test_code_in_a_folder_is_not_run(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    try:
        tokenization.load_tokenizer(str(tmp_path))
    except UsageError:
        pass
    assert not (tmp_path / "ran").exists()


def test_a_tokenizer_without_end_of_sequence_is_refused(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    del settings["eos_token"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(UsageError, match="end-of-sequence") as error:
        tokenization.load_tokenizer(str(tmp_path))
    assert str(tmp_path) in str(error.value)


def with_affixes(tokenizer, tmp_path, *, bos: bool, eos: bool):
    """A copy of the tokenizer that writes special tokens around every text."""
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    tokenizer.save_pretrained(tmp_path)
    copy = PreTrainedTokenizerFast(
        tokenizer_file=str(tmp_path / "tokenizer.json"),
        pad_token=tokenizer.pad_token,
        eos_token=tokenizer.eos_token,
        bos_token=tokenizer.pad_token,
    )
    single = ("<|pad|> " if bos else "") + "$A" + (" <|endoftext|>" if eos else "")
    specials = [("<|pad|>", tokenizer.pad_token_id), ("<|endoftext|>", tokenizer.eos_token_id)]
    copy.backend_tokenizer.post_processor = TemplateProcessing(single=single, special_tokens=specials)
    return copy


def test_the_tokenizer_decides_about_beginning_of_sequence(tokenizer, tmp_path):
    copy = with_affixes(tokenizer, tmp_path, bos=True, eos=False)
    assert encode(copy, "a b") == [copy.bos_token_id, *encode(tokenizer, "a b")]


def test_a_prompt_does_not_end_in_an_end_of_sequence_that_the_tokenizer_adds(tokenizer, tmp_path):
    copy = with_affixes(tokenizer, tmp_path, bos=False, eos=True)
    assert encode(copy, "a b") == encode(tokenizer, "a b")


def test_messages_go_through_the_chat_template(tokenizer, tmp_path):
    copy = with_affixes(tokenizer, tmp_path, bos=True, eos=False)
    copy.chat_template = (
        "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    ids = tokenization.encode_prompt({"problem": "1+1?"}, "boxed", copy)
    assert ids.count(copy.bos_token_id) == 1  # the template wrote it; the tokenizer must not write another
    text = tokenization.decode(copy, ids)
    assert text.startswith("[user]1+1?\nPlease reason step by step") and text.endswith("\\boxed{}.[assistant]")


def test_messages_without_a_chat_template_are_refused(tokenizer):
    with pytest.raises(UsageError, match="'boxed'.*no chat template"):
        tokenization.encode_prompt({"problem": "1+1?"}, "boxed", tokenizer)


def test_an_unknown_template_is_refused(tokenizer):
    with pytest.raises(UsageError, match="config.data.template='boxd'.*did you mean 'boxed'"):
        tokenization.encode_prompt({"problem": "1+1?"}, "boxd", tokenizer)


@pytest.mark.parametrize(
    ("listed", "expected"), [(None, ()), (7, (7,)), ([7, 9], (7, 9)), ("no file", ())]
)
def test_completions_end_at_all_listed_tokens_without_repetition(tokenizer, tmp_path, listed, expected):
    if listed != "no file":
        (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": listed}))
    assert tokenization.stop_ids(tokenizer, tmp_path) == (tokenizer.eos_token_id, *expected)
    assert tokenization.stop_ids(tokenizer) == (tokenizer.eos_token_id,)


def test_the_own_end_of_sequence_is_not_listed_twice(tokenizer, tmp_path):
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [9, tokenizer.eos_token_id]}))
    assert tokenization.stop_ids(tokenizer, str(tmp_path)) == (tokenizer.eos_token_id, 9)
