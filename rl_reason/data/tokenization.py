"""Between text and token ids: loading a tokenizer, training one, prompts in, completions out.

Token ids are what passes between sampling, rewards and training. A completion is decoded for people and for rewards;
its text is never tokenized again, because the ids that come back need not be those that were sampled.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from rl_reason.data.templates import Template, find_template
from rl_reason.errors import UsageError

PAD = "<|pad|>"
END = "<|endoftext|>"
TAGS = ("<think>", "</think>", "<answer>", "</answer>")

# Words carry their leading space, each digit stands alone (numbers of any length are then read digit by digit), and so
# does each character of a Chinese number word; runs of punctuation and of white space stay together.
_NUMERALS = "零一二两三四五六七八九十百千万"
_PIECES = (
    rf"[{_NUMERALS}]| ?(?![{_NUMERALS}])\p{{L}}(?:(?![{_NUMERALS}])[\p{{L}}\p{{M}}])*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)


def is_local(path: str) -> bool:
    """Whether `path` means a folder here and not a name on the hub: it exists, or is written as no name there is."""
    return path.startswith((".", "~", os.sep)) or path.count("/") > 1 or Path(path).exists()


def load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a local Hugging Face folder or of a hub name. Code that comes with a model is never run.

    Raises:
        UsageError: the folder is missing, holds no tokenizer that can be loaded, or the tokenizer has no
            end-of-sequence token (completions could not end).
    """
    local = is_local(path)
    place = os.path.expanduser(path) if local else path
    if not path or (local and not Path(place).is_dir()):
        raise UsageError(f"tokenizer {path!r}: no such folder, expected a Hugging Face folder or name")
    try:
        # tokenizer.json says everything about how text is cut. AutoTokenizer goes by the model's type instead, and
        # for some builds a tokenizer with that type's own rules around the same vocabulary.
        whole = local and (Path(place) / "tokenizer.json").is_file()
        load = PreTrainedTokenizerFast if whole else AutoTokenizer
        tokenizer = load.from_pretrained(place, local_files_only=local, trust_remote_code=False)
    except Exception as error:  # transformers and tokenizers raise many kinds, plain Exception among them
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(f"tokenizer {path!r}: cannot load it: {reason}") from error
    if tokenizer.eos_token_id is None:
        raise UsageError(f"tokenizer {path!r}: has no end-of-sequence token, expected eos_token in its files")
    return tokenizer


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of at most `vocab_size` tokens, the same for the same texts.

    Any text comes back exactly: there is no normalization, no added space and no clean-up. The tags of the R1 format
    are single tokens, but not special ones, so that `decode` keeps them for the format reward.

    Raises:
        UsageError: `vocab_size` cannot hold the 256 bytes, the special tokens and the tags.
    """
    least = 256 + 2 + len(TAGS)
    if vocab_size < least:
        raise UsageError(f"config.model.tokenizer_size={vocab_size}: expected at least {least} (bytes and tags)")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(TAGS),
        special_tokens=[PAD, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # Tags are cut out of the training text: no merges are wasted on tokens that exist already.
    tags = re.compile("|".join(map(re.escape, TAGS)))
    tokenizer.train_from_iterator((piece for text in texts for piece in tags.split(text)), trainer)
    tokenizer.add_tokens([AddedToken(tag, normalized=False, special=False) for tag in TAGS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, clean_up_tokenization_spaces=False
    )


def empty_tokenizer() -> PreTrainedTokenizerFast:
    """One without any token, where only a model's shape matters."""
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))


def encode_prompt(problem: Mapping, template: str | Template, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Token ids of the prompt of one problem.

    Text is encoded with the tokenizer's own beginning-of-sequence behaviour, messages with its chat template up to
    the point where the assistant speaks.

    Args:
        problem: a row with `problem`.
        template: a name (`templates.TEMPLATES` or `package.module:function`) or a template function.

    Raises:
        UsageError: the template writes messages and the tokenizer has no chat template; or an unknown name.
    """
    function = find_template(template) if isinstance(template, str) else template
    prompt = function(problem)
    if not isinstance(prompt, str):
        if not tokenizer.chat_template:
            name = template if isinstance(template, str) else getattr(template, "__name__", repr(template))
            raise UsageError(
                f"config.data.template={name!r}: writes chat messages, but the tokenizer "
                f"{tokenizer.name_or_path or '(trained here)'!r} has no chat template; expected a plain-text template"
            )
        made = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=True, return_dict=False)
        return list(made)  # type: ignore[arg-type]
    ids: list[int] = list(tokenizer(prompt)["input_ids"])
    # Some folders are saved with add_eos_token: a prompt that has ended already cannot be continued.
    if ids and ids[-1] == tokenizer.eos_token_id and not prompt.endswith(tokenizer.eos_token):
        ids.pop()
    return ids


def decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of token ids, without special tokens and without any clean-up of spaces."""
    text = tokenizer.decode(list(map(int, ids)), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return str(text)


def stop_ids(tokenizer: PreTrainedTokenizerBase, path: str | Path | None = None) -> tuple[int, ...]:
    """Tokens that end a completion, the tokenizer's own first.

    Chat models end a turn with another token than a document: `generation_config.json` lists both.

    Args:
        path: a model folder that may hold `generation_config.json`, or that file, or a hub name.
    """
    ids = [tokenizer.eos_token_id]
    file = _generation_config(str(path)) if path else None
    if file is not None:
        listed = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id")
        ids += listed if isinstance(listed, list) else [] if listed is None else [listed]
    return tuple(dict.fromkeys(ids))


def _generation_config(path: str) -> Path | None:
    name = "generation_config.json"
    if is_local(path):
        place = Path(path).expanduser()
        file = place / name if place.is_dir() else place
        return file if file.is_file() else None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return Path(hf_hub_download(path, name))
    except EntryNotFoundError:  # the model says nothing more than its tokenizer does
        return None


def ordinary_tokens_from(tokenizer: PreTrainedTokenizerBase, first: int) -> list[str]:
    """Tokens with ids of `first` or more that are not special. Special ones may lie there without harm: Gemma 3's
    text models have one for images, which stands behind the last row of their embeddings and in no text."""
    special = {id for id, token in tokenizer.added_tokens_decoder.items() if token.special}
    return [token for token, id in tokenizer.get_vocab().items() if id >= first and id not in special]
