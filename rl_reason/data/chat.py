"""Conversations as examples of supervised training: which of their tokens the assistant wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from transformers import PreTrainedTokenizerBase

from rl_reason.errors import UsageError


def check_messages(row: Mapping, place: str) -> None:
    """Raises `UsageError` unless `messages` is a conversation in which the assistant speaks after somebody else."""
    messages = row["messages"]
    expected = 'expected [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}, ...]'
    if not isinstance(messages, list) or not messages:
        raise UsageError(f"{place}, id {row['id']!r}: {messages!r:.40} as `messages`; {expected}")
    for number, message in enumerate(messages, 1):
        is_one = isinstance(message, Mapping) and all(isinstance(message.get(key), str) for key in ("role", "content"))
        if not is_one:
            raise UsageError(f"{place}, id {row['id']!r}: {message!r:.40} as message {number}; {expected}")
    roles = [message["role"] for message in messages]
    if "assistant" not in roles[1:] or roles[0] == "assistant":
        raise UsageError(f"{place}, id {row['id']!r}: `messages` by {', '.join(roles):.40}; {expected}")


def encode_chat(
    row: Mapping, tokenizer: PreTrainedTokenizerBase, stop_ids: Sequence[int]
) -> tuple[list[int], list[bool]]:
    """Token ids of a conversation as the tokenizer's chat template writes it, and which of them are to be learned: of
    each of the assistant's turns what comes after the opening that a prompt has, to the token that ends it.

    Raises:
        UsageError: no chat template; or one that ends turns with none of `stop_ids`, or writes what was said
            differently once more is said (some leave out earlier thoughts), so that its turns cannot be found.
    """
    if not tokenizer.chat_template:
        raise UsageError(
            f"problem {row['id']!r}: has `messages`, but the tokenizer {tokenizer.name_or_path or '(trained here)'!r} "
            "has no chat template; expected `problem` and `solution`"
        )
    messages = row["messages"]
    whole = _render(tokenizer, messages, opened=False)
    targets = [False] * len(whole)
    for turn, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = _render(tokenizer, messages[:turn], opened=True)
        said = _render(tokenizer, messages[: turn + 1], opened=False)
        if whole[: len(said)] != said or said[: len(before)] != before:
            raise UsageError(
                f"problem {row['id']!r}: the chat template writes message {turn + 1} differently when others follow; "
                "expected one turn of the assistant, the last"
            )
        # Behind the end of a turn some templates write a line break, which nobody says.
        ends = [place for place in range(len(before), len(said)) if said[place] in stop_ids]
        if not ends:
            raise UsageError(
                f"problem {row['id']!r}: the chat template ends message {turn + 1} with no end-of-sequence token; "
                f"expected one of {tokenizer.convert_ids_to_tokens(list(stop_ids))}"
            )
        for place in range(len(before), ends[-1] + 1):
            targets[place] = True
    return whole, targets


def _render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping], opened: bool) -> list[int]:
    rows = [dict(message) for message in messages]
    made = tokenizer.apply_chat_template(rows, add_generation_prompt=opened, tokenize=True, return_dict=False)
    return list(made)  # type: ignore[arg-type]
