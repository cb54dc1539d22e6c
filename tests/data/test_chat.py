"""Conversations: what a chat template writes, and which of its tokens are learned."""

import copy

import numpy as np
import pytest

from rl_reason.data import sources
from rl_reason.data.chat import encode_chat
from rl_reason.data.supervised import make_batches, make_examples
from rl_reason.data.templates import question
from rl_reason.errors import UsageError

TEMPLATE = (
    "{% for m in messages %}<answer>{{ m.role }}\n{{ m.content }}<|endoftext|>\n{% endfor %}"
    "{% if add_generation_prompt %}<answer>assistant\n{% endif %}"
)
LAST_ONLY = (  # As templates do that leave out what was thought before.
    "{% for m in messages %}<answer>{{ m.role }}\n{% if loop.last or m.role != 'assistant' %}{{ m.content }}"
    "{% else %}…{% endif %}<|endoftext|>\n{% endfor %}{% if add_generation_prompt %}<answer>assistant\n{% endif %}"
)
TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "1+1?"},
    {"role": "assistant", "content": "Tom has 2"},
    {"role": "user", "content": "and 2+2?"},
    {"role": "assistant", "content": "now 4 coins"},
]


@pytest.fixture
def chat(tokenizer):
    made = copy.deepcopy(tokenizer)
    made.chat_template = TEMPLATE
    return made


def learned(ids, targets, tokenizer):
    """The runs of targets, as text."""
    edges = np.flatnonzero(np.diff([0, *targets, 0]))
    return [tokenizer.decode(ids[a:b]) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def test_every_turn_of_the_assistant_with_its_end(chat):
    ids, targets = encode_chat({"id": "a", "messages": TURNS}, chat, [chat.eos_token_id])
    assert chat.decode(ids) == "".join(f"<answer>{m['role']}\n{m['content']}<|endoftext|>\n" for m in TURNS)
    assert learned(ids, targets, chat) == ["Tom has 2<|endoftext|>", "now 4 coins<|endoftext|>"]


def test_templates_that_cannot_be_used(chat, tokenizer):
    row = {"id": "a", "messages": TURNS}
    with pytest.raises(UsageError, match="problem 'a': .*no chat template"):
        encode_chat(row, tokenizer, [tokenizer.eos_token_id])
    with pytest.raises(UsageError, match="problem 'a': .*message 3 with no end-of-sequence token"):
        encode_chat(row, chat, [5])
    chat.chat_template = LAST_ONLY
    with pytest.raises(UsageError, match="problem 'a': .*message 3 differently"):
        encode_chat(row, chat, [chat.eos_token_id])
    ids, targets = encode_chat({"id": "a", "messages": TURNS[:3]}, chat, [chat.eos_token_id])
    assert learned(ids, targets, chat) == ["Tom has 2<|endoftext|>"]


def test_conversations_beside_problems(chat, write_jsonl):
    rows = [{"messages": TURNS}, {"problem": "1+2?", "answer": "3", "solution": "1+2=3"}]
    problems = sources.load(str(write_jsonl("both.jsonl", rows)), "train", "", 0, chat=True)[:]

    def make(problems, stages):
        stops = [chat.eos_token_id]
        return make_examples(problems, stages, question, chat, stops, 200, "config.data.row_length", "error", 0)

    examples = make(problems, ((0, (("original", 1.0),)),))
    batch, taken = make_batches(examples, 1, 200, 0, "sequence_mean", 0)(1, 0)
    assert taken >= 2
    texts = [
        learned(batch["tokens"][0][here].tolist(), (batch["weights"][0][here] > 0).tolist(), chat)
        for here in (batch["segments"][0] == n for n in (1, 2))
    ]
    assert sorted(texts) == [["1+2=3<|endoftext|>"], ["Tom has 2<|endoftext|>", "now 4 coins<|endoftext|>"]]
    with pytest.raises(UsageError, match="config.data.solutions=\\(\\)"):
        make(problems, ())
    with pytest.raises(UsageError, match="is not read"):
        make(problems[:1], ((0, (("original", 1.0),)),))
    assert make(problems[:1], ()).count == 1


@pytest.mark.parametrize(
    "messages, told",
    [
        ([], r"\[\] as `messages`"),
        ("hello", "'hello' as `messages`"),
        ([TURNS[1], {"role": "assistant"}], "message 2"),
        ([TURNS[1]], "by user"),
        ([TURNS[2], TURNS[1]], "by assistant, user"),
    ],
)
def test_bad_conversations(write_jsonl, messages, told):
    file = write_jsonl("bad.jsonl", [{"messages": TURNS}, {"messages": messages}])
    with pytest.raises(UsageError, match=f"line 2, id '2': .*{told}"):
        sources.load(str(file), "train", "", 0, chat=True)


def test_only_supervised_training_reads_conversations(write_jsonl):
    with pytest.raises(UsageError, match="line 1, id '1': no `problem`"):
        sources.load(str(write_jsonl("chat.jsonl", [{"messages": TURNS}])), "train", "", 0)
