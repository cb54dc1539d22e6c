"""Rows with labels: what becomes of each shape, and what is refused with its file and line."""

import dataclasses
import json
import math

import pytest

from rl_reason.data.labelled import MADE, Encoding, encode_labelled, first_problems, read_labelled
from rl_reason.data.templates import question
from rl_reason.errors import UsageError
from rl_reason.settings import RewardModel

OUTCOME, PREFERENCE = RewardModel(kind="outcome"), RewardModel(kind="preference")
PROCESS = RewardModel(kind="process")
STEPS = ["3*4=12", "12+1=13", "13-3=10"]


@pytest.fixture
def read(tokenizer, write_jsonl):
    """read(rows, learned): the items; with the encoding that made them."""
    encoding = Encoding(tokenizer, question, "\n", len(tokenizer), 100, 100, drops=False)

    def reader(rows, learned, **changed):
        return read_labelled(write_jsonl("rows.jsonl", rows), learned, dataclasses.replace(encoding, **changed))

    reader.encoding = encoding
    return reader


def solution(**changed):
    return {"problem": "How many?", "steps": STEPS, "labels": [1, 1, 1], **changed}


def step(**changed):
    return {"problem": "How many?", "prefix": STEPS[:1], "step": STEPS[1], "rating": 1, **changed}


def pieces(one, tokenizer):
    """The texts between the ends of what is judged."""
    starts = [0, *(end + 1 for end in one.ends)]
    return [tokenizer.decode(one.completion_ids[a : b + 1]) for a, b in zip(starts, one.ends, strict=False)]


def test_outcome(read, tokenizer):
    rows = [{"problem": "How many?", "completion": "13", "correct": True}]
    rows += [{"problem": "How many?", "completion": "", "correct": False}]
    rows += [{"problem": "How many?", "completion": "12", "reward": 0.25}]
    items = read(rows, OUTCOME)
    assert [(one.targets, one.correct) for (one,) in items] == [([1.0], True), ([0.0], False), ([0.25], False)]
    for (one,), row in zip(items, rows, strict=True):
        assert tokenizer.decode(one.prompt_ids) == "How many?\n"
        assert tokenizer.decode(one.completion_ids) == row["completion"] + tokenizer.eos_token
        assert one.ends == [len(one.completion_ids) - 1]
    unjudged = {"problem": "How many?", "completion": "14", "correct": None, "failure": {"kind": "timeout"}}
    assert read([rows[0], unjudged], OUTCOME) == items[:1]
    every = read(rows, dataclasses.replace(OUTCOME, every_token=True))
    assert all(one.ends == list(range(len(one.completion_ids))) for (one,) in every)
    assert every[0][0].targets == [1.0] * len(every[0][0].ends)


def test_preference(read, tokenizer):
    ((chosen, rejected),) = read([{"problem": "How many?", "chosen": "13", "rejected": "12"}], PREFERENCE)
    texts = [tokenizer.decode(one.completion_ids) for one in (chosen, rejected)]
    assert texts == ["13" + tokenizer.eos_token, "12" + tokenizer.eos_token]
    assert (chosen.targets, rejected.targets) == ([1.0], [0.0]) and chosen.prompt_ids == rejected.prompt_ids


def test_preferences_that_are_not_certain(read):
    rows = [{"problem": "How many?", "chosen": "13", "rejected": "12", "share": share} for share in (0.75, 0.5, 0, 1)]
    made = [(chosen.targets, rejected.targets) for chosen, rejected in read(rows, PREFERENCE)]
    assert made == [([0.75], [0.25]), ([0.5], [0.5]), ([0.0], [1.0]), ([1.0], [0.0])]
    for share in (1.01, -0.1, "0.5", None, True, math.nan):
        with pytest.raises(UsageError, match="line 1: `share`=.*: expected a number from 0 to 1"):
            read([rows[0] | {"share": share}], PREFERENCE)


def test_whole_solutions(read, tokenizer):
    ((one,),) = read([solution(labels=[1, 0, -1])], PROCESS)
    assert pieces(one, tokenizer) == [f"{STEPS[0]}\n", f"{STEPS[1]}\n", STEPS[2] + tokenizer.eos_token]
    assert one.targets == [1.0, 1.0, 0.0] and one.correct is False
    ((same,),) = read([{"problem": "How many?", "completion": "\n".join(STEPS), "labels": [1, 0, -1]}], PROCESS)
    assert same == one


@pytest.mark.parametrize(
    "labels, changed, targets, correct",
    [
        ([1, 1, 1], {}, [1, 1, 1], True),
        ([1, -1, 1], {}, [1, 0, None], False),  # Up to and including the first error.
        ([1, -1, 1], {"first_error": False}, [1, 0, 1], False),
        ([0, 1, -1], {}, [1, 1, 0], False),
        ([1, 0, -1], {"neutral_is_right": False}, [1, 0, None], False),
        ([1, None, -1], {}, [1, None, 0], None),
        ([1.0, 0.0, -1.0], {}, [1, 1, 0], False),
    ],
)
def test_ratings(labels, changed, targets, correct, read):
    ((one,),) = read([solution(labels=labels)], dataclasses.replace(PROCESS, **changed))
    assert one.targets == targets and one.correct is correct
    # What is said of the whole goes before what its steps say.
    ((told,),) = read([solution(labels=labels, correct=True)], dataclasses.replace(PROCESS, **changed))
    assert told.correct is True


@pytest.mark.parametrize(
    "shares, changed, targets, correct",
    [
        ([0.75, 0.125, 0], {}, [1, 1, 0], False),
        ([0.75, 0.125, 0.5], {"soft": True}, [0.75, 0.125, 0.5], None),  # Half right is neither.
    ],
)
def test_shares(shares, changed, targets, correct, read):
    row = solution(shares=shares)
    del row["labels"]
    ((one,),) = read([row], dataclasses.replace(PROCESS, **changed))
    assert one.targets == targets and one.correct is correct


def test_one_step_as_prm800k_has_them(read, tokenizer, caplog):
    """The end of a solution shows in no rating: a step in its midst ends like one, the last one with the end token."""
    rows = [step(), step(rating=-1), step(rating=0), step(rating=None), step(prefix=[])]
    rows += [step(answer="13", rating=-1), step(is_solution=True, answer=None), step(answer=None, is_solution=False)]
    items = [one for (one,) in read(rows, PROCESS)]
    assert [one.targets for one in items] == [[1.0], [0.0], [1.0], [1.0], [0.0], [1.0], [1.0]]
    assert all(one.ends == [len(one.completion_ids) - 1] and one.correct is None for one in items)
    before, last = f"{STEPS[0]}\n{STEPS[1]}", tokenizer.eos_token
    expected = [f"{before}\n"] * 3 + [f"{STEPS[1]}\n"] + [before + last] * 2 + [f"{before}\n"]
    assert [tokenizer.decode(one.completion_ids) for one in items] == expected
    assert "left out 1 of 8 rows, which have no rating: line 4" in caplog.text
    # A step ends with the same token, whether what follows it is there or not.
    ((whole,),) = read([solution()], PROCESS)
    assert items[0].completion_ids == whole.completion_ids[: whole.ends[1] + 1]


def test_prm800k(shared_data, tokenizer, caplog):
    """The public file, to see that the loader reads it; it is not to be trained on."""
    file = shared_data / "prm" / "prm800k_phase1_test_steps.jsonl"
    items = read_labelled(file, PROCESS, Encoding(tokenizer, question, "\n", len(tokenizer), 4000, 4000, drops=False))
    assert len(items) == 5449 - 367 and "left out 367 of 5449 rows" in caplog.text
    targets = [one.targets[0] for (one,) in items]
    assert targets.count(1.0) == 2076 + 79 + 90 + 856 + 11 and targets.count(0.0) == 1844 + 126
    assert len(first_problems(items, 10)) < len(items) == len(first_problems(items, 0))
    assert len({one.problem for (one,) in first_problems(items, 10)}) == 10


def test_sampled_tokens_are_taken_as_they_are(read, tokenizer):
    """They need not be those that the text is cut into."""
    ids = [tokenizer("1")["input_ids"][0], *tokenizer("3")["input_ids"], tokenizer.eos_token_id]
    row = {"problem": "How many?", "completion": "13", "tokens": ids, "correct": True}
    assert read([row], OUTCOME)[0][0].completion_ids == ids
    row["tokens"] = ids[:-1]  # Cut off at the length limit.
    assert read([row], OUTCOME)[0][0].completion_ids == ids[:-1]


@pytest.mark.parametrize(
    "row, learned, told",
    [
        ({"problem": "p", "completion": "c"}, OUTCOME, "no `correct` and no `reward`"),
        ({"problem": "p", "completion": "c", "correct": 1}, OUTCOME, "`correct`=1: expected true or false"),
        ({"problem": "p", "completion": "c", "correct": None}, OUTCOME, "`correct`=None: expected true or false"),
        ({"problem": "p", "completion": "c", "reward": math.nan}, OUTCOME, "`reward`=NaN: expected a number from 0"),
        ({"problem": "p", "completion": "c", "reward": -1}, OUTCOME, "`reward`=-1: expected a number from 0 to 1"),
        ({"problem": "p", "completion": "c", "reward": "1"}, OUTCOME, "`reward`='1': expected a number from 0 to 1"),
        ({"problem": "p", "correct": True}, OUTCOME, "no `completion`; expected a string"),
        ({"problem": " ", "completion": "c", "correct": True}, OUTCOME, "`problem`=' '; expected a non-empty string"),
        ({"problem": "p", "completion": "c\ud800", "correct": True}, OUTCOME, "lone surrogate"),
        ({"problem": "p", "completion": "c", "tokens": [10**6], "correct": True}, OUTCOME, "`tokens`=[1000000]"),
        ({"problem": "p", "completion": "c", "tokens": [True], "correct": True}, OUTCOME, "`tokens`=[True]"),
        ({"problem": "p", "completion": "c", "tokens": [9], "correct": True}, OUTCOME, "not those of `completion`"),
        ({"problem": "p", "chosen": "a", "rejected": "a"}, PREFERENCE, "`chosen` and `rejected` are equal"),
        ({"problem": "p", "chosen": "a"}, PREFERENCE, "no `rejected`; expected a non-empty string"),
        ({"problem": "p", "chosen": [{"role": "user"}], "rejected": "a"}, PREFERENCE, "`chosen`=[{'role'"),
        (solution(labels=[1, 1]), PROCESS, "`labels`: got 2 of them; expected a list with one for each of 3 steps"),
        (solution(labels=[1, 1, 2]), PROCESS, "`labels`[2]=2: expected 1, 0, -1 or null"),
        (solution(labels=[1, math.nan, 1]), PROCESS, "`labels`[1]=NaN: expected 1, 0, -1 or null"),
        (solution(labels=[1, True, 1]), PROCESS, "`labels`[1]=True: expected 1, 0, -1 or null"),
        (solution(labels="good"), PROCESS, "`labels`: got 'good'"),
        (solution(shares=[1, 1, 1]), PROCESS, "both `labels` and `shares`"),
        ({"problem": "p", "steps": STEPS}, PROCESS, "no `labels`, `shares` or `rating`"),
        ({"problem": "p", "steps": STEPS, "shares": [0.5, 1.5, 0]}, PROCESS, "`shares`[1]=1.5: expected a number"),
        ({"problem": "p", "steps": STEPS, "shares": [0.5, None, 0]}, PROCESS, "`shares`[1]=None: expected a number"),
        (solution(steps=["a", " ", "c"]), PROCESS, "`steps[1]`=' '; expected a non-empty string"),
        (solution(steps=[]), PROCESS, "`steps`=[]; expected a list of texts"),
        (solution(correct="yes"), PROCESS, "`correct`='yes': expected true or false"),
        (step(rating=2), PROCESS, "`rating`=2: expected 1, 0, -1 or null"),
        (step(rating="good"), PROCESS, "`rating`='good': expected 1, 0, -1 or null"),
        (step(rating=math.nan), PROCESS, "`rating`=NaN: expected 1, 0, -1 or null"),
        ({"problem": "p", "prefix": [], "step": "a"}, PROCESS, "no `rating`; expected 1, 0, -1 or null"),
        (step(step="\n"), PROCESS, "`step`='\\n'; expected a non-empty string"),
        (step(prefix=["a", ""]), PROCESS, "`prefix[1]`=''; expected a non-empty string"),
        (step(prefix="a"), PROCESS, "`prefix`='a'; expected a list of texts"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_a_bad_row_is_told_with_its_place(row, learned, told, read):
    good = {
        "outcome": {"problem": "p", "completion": "c", "correct": True},
        "preference": {"problem": "p", "chosen": "a", "rejected": "b"},
        "process": solution(),
    }[learned.kind]
    with pytest.raises(UsageError) as error:
        read([good, json.dumps(row)], learned)
    assert "rows.jsonl, line 2: " in str(error.value) and told in str(error.value) and "\n" not in str(error.value)


def test_no_labels_at_all(read):
    with pytest.raises(UsageError, match="rows.jsonl: holds no labels to learn from in its 2 rows"):
        read([step(rating=None), solution(labels=[None] * 3)], PROCESS)
    with pytest.raises(UsageError, match="rows.jsonl: holds no labels to learn from in its 0 rows"):
        read([""], OUTCOME)


def test_too_long(read, caplog):
    rows = [solution(), solution(problem="p" * 300), solution(steps=["9" * 300], labels=[1])]
    for row, key in ((rows[1], "config.data.max_prompt_length=100"), (rows[2], "config.sampling.max_length=100")):
        with pytest.raises(UsageError, match=f"{key}: the .* in .*rows.jsonl, line 2 has [0-9]+ tokens"):
            read([rows[0], row], PROCESS)
    assert len(read(rows, PROCESS, drops=True)) == 1
    assert "left out 2 of 3 rows, longer than 100 + 100 tokens" in caplog.text


def test_made_pairs(read, tokenizer):
    """Rows that are made become the same items as those of a file."""
    rows = MADE["request_pairs"]("train", "", 0)[:20]
    items = encode_labelled([(row["id"], row) for row in rows], "request_pairs", PREFERENCE, read.encoding)
    assert items == read(rows, PREFERENCE) and len(items) == 20
    broken = [("request_pairs, row 3", {**rows[3], "rejected": rows[3]["chosen"]})]
    with pytest.raises(UsageError, match="request_pairs, row 3: `chosen` and `rejected` are equal"):
        encode_labelled(broken, "request_pairs", PREFERENCE, read.encoding)
