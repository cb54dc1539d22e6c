"""Which completions of a question are kept, and which are paired."""

from rl_reason.data.preferences import pair_records
from rl_reason.data.selection import fingerprint, select


def record(completion, reward=1.0, finish="stop"):
    return {"completion": completion, "reward": reward, "finish": finish, "tokens": list(completion.encode())}


def test_fingerprint():
    expected = ("3*4=12", "12+1=13")
    assert fingerprint("First 3 * 4 = 12.\nThen 12+1=13.") == fingerprint("3*4=12, so 12 + 1 = 13") == expected
    assert fingerprint("3*4=12") != fingerprint("4*3=12")
    assert fingerprint("The  Answer is 5\n") == fingerprint("the answer IS 5") != fingerprint("the answer is 6")
    assert fingerprint("x=3") == ("x=3",)  # no calculation: the words


def test_select():
    records = [
        record("1+1=2"), record("1 + 1 = 2 again"), record("0+2=2", 0.4), record("cut 2+0=2", 1.0, "length"),
        record("two"), record("TWO"), record("3-1=2", 0.5),
    ]  # fmt: skip
    texts = lambda *arguments: [r["completion"] for r in select(records, *arguments)]  # noqa: E731
    assert texts(1.0, 0) == ["1+1=2", "two"]
    assert texts(0.5, 0) == ["1+1=2", "two", "3-1=2"]
    assert texts(0.5, 2) == ["1+1=2", "two"]
    assert texts(2.0, 0) == []


def test_pairs():
    records = [
        record("bad a", 0.0), record("good a"), record("good a"), record("good cut", 1.0, "length"),
        record("bad cut", 0.0, "length"), record("good b"), record("bad b", 0.2), record("good c"), record("good d"),
    ]  # fmt: skip
    texts = lambda most: [(c["completion"], r["completion"]) for c, r in pair_records(records, 0.5, most)]  # noqa: E731
    assert texts(9) == [("good a", "bad a"), ("good b", "bad cut"), ("good c", "bad b")]
    assert texts(1) == [("good a", "bad a")]
    assert pair_records([record("right")], 0.5, 9) == []


def test_whose_reward_failed_is_neither_right_nor_wrong():
    failure = {"failure": {"part": "number", "kind": "timeout", "message": "5 s"}}
    records = [record("right"), record("wrong", 0.0) | failure, record("right too") | failure, record("bad", 0.0)]
    assert [(c["completion"], r["completion"]) for c, r in pair_records(records, 0.5, 9)] == [("right", "bad")]
    assert [kept["completion"] for kept in select(records, 0.5, 0)] == ["right"]
