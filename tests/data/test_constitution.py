"""Files of principles, their draw, and what is asked about answers by them."""

import json
from collections import Counter
from pathlib import Path

import pytest

from rl_reason.data.constitution import KEYS, Principle, draw, read_constitution
from rl_reason.data.revising import ask
from rl_reason.data.templates import chat, question
from rl_reason.errors import UsageError

SHIPPED = Path(__file__).parents[2] / "configs" / "constitution.jsonl"
PRINCIPLES = [Principle(f"What is wrong, by {i}?", f"Mend it, by {i}.", f"Which, by {i}?") for i in range(4)]
ANSWER = {
    "id": "a", "sample": 1, "problem": "Say it.", "answer": "-", "kind": "general", "prompt": "Say it.\n",
    "completion": "No!", "tokens": [1], "reward": 0.0, "correct": False, "finish": "stop",
}  # fmt: skip


def test_the_shipped_constitution():
    principles = read_constitution(SHIPPED)
    assert len(principles) == 16 and all(len({getattr(p, key) for p in principles}) == 16 for key in KEYS)


@pytest.mark.parametrize(
    "content, told",
    [
        (b"", "holds no principles; expected rows with `critique`, `revision`, `choice`"),
        (b"\n\n", "holds no principles"),
        (b'{"critique": "c", "revision": "r"}\n', "line 1: no `choice`; expected a non-empty string"),
        (b'\n{"critique": "c", "revision": " ", "choice": "q"}\n', "line 2: ' ' as `revision`; expected"),
        (b'{"critique": "\xff"}\n', "line 1: 'utf-8' codec .*; expected one JSON object a line"),
        (b"Be kind.\n", "line 1: not JSON"),
    ],
    ids=["empty", "blank", "missing", "nothing said", "not UTF-8", "no JSON"],
)
def test_files_that_are_refused(tmp_path, content, told):
    file = tmp_path / "principles.jsonl"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=f"^{file}.*{told}"):
        read_constitution(file)


def test_each_principle_is_drawn_about_as_often_and_by_the_seed():
    drawn = [draw(PRINCIPLES, 3, f"p{i}") for i in range(1000)]
    assert all(200 < count < 300 for count in Counter(drawn).values()) and len(set(drawn)) == 4
    assert drawn[::-1] == [draw(PRINCIPLES, 3, f"p{i}") for i in range(1000)[::-1]]
    assert drawn != [draw(PRINCIPLES, 4, f"p{i}") for i in range(1000)]


def test_two_rounds_of_critique_and_revision():
    """What a model would be shown, and that the second round is about the first one's revision alone."""

    def sampled(row, completion):
        return ANSWER | row | {"sample": 0, "completion": completion}

    (asked,) = ask("critique", [ANSWER], PRINCIPLES, 0, "folder")
    principle = PRINCIPLES[int(asked["turns"][2][-2])]
    assert question(asked) == f"Say it.\nNo!\n{principle.critique}\n"
    assert asked["id"] == "a/1" and (asked["kind"], asked["answer"]) == ("general", "-") and "reward" not in asked
    (revise,) = ask("revision", [sampled(asked, "It is rude.")], PRINCIPLES, 0, "folder")
    assert chat(revise) == [
        {"role": "user", "content": "Say it."},
        {"role": "assistant", "content": "No!"},
        {"role": "user", "content": principle.critique},
        {"role": "assistant", "content": "It is rude."},
        {"role": "user", "content": principle.revision},
    ]
    (again,) = ask("critique", [sampled(revise, "I will not.")], PRINCIPLES, 0, "folder")
    assert again["turns"][:2] == ["Say it.", "I will not."] and len(again["turns"]) == 3
    assert again["problem"] == "Say it." and again["id"] != asked["id"]
    assert json.loads(json.dumps(again)) == again


def test_rounds_draw_anew():
    """Else the rounds of an answer would all be about the same fault."""

    def drawn(id):
        return ask("critique", [ANSWER | {"id": id}], PRINCIPLES, 0, "")[0]["turns"][2]

    same = [drawn(f"{i}") == drawn(f"{i}/1/0") for i in range(50)]
    assert 0 < sum(same) < 25


def test_empty_completions_are_counted(caplog):
    records = [ANSWER | {"completion": text, "sample": sample} for sample, text in enumerate(("No!", "", " \n"))]
    assert len(ask("critique", records, PRINCIPLES, 0, "folder")) == 1
    assert f"left out 2 of 3 completions, which are empty: {ANSWER['id']}/1, {ANSWER['id']}/2" in caplog.text
    with pytest.raises(UsageError, match="config.data.name='folder': all of its 2 completions are empty"):
        ask("critique", records[1:], PRINCIPLES, 0, "folder")


def test_a_revision_needs_a_critique():
    with pytest.raises(UsageError, match="config.constitution.asks='revision': 'a/1' of config.data.name is no"):
        ask("revision", [ANSWER], PRINCIPLES, 0, "folder")


def test_without_turns_a_template_shows_the_problem():
    assert question({"problem": "Why?"}) == "Why?\n"
    assert chat({"problem": "Why?"}) == [{"role": "user", "content": "Why?"}]
