"""Files of statements: the public ones as a whole, and the line that a wrong one is told."""

import pytest

from rl_reason.data import sources
from rl_reason.data.geometry import read_geometry
from rl_reason.errors import UsageError

FILE = "# medians\nfirst\na b c = triangle; d = midpoint a b ? coll a d b\n\nsecond\na b = segment a b ? cong a b b a\n"


@pytest.mark.parametrize("name, count", [("imo_ag_30", 30), ("jgex_ag_231", 231)])
def test_public_files(shared_data, name, count):
    problems = sources.load(name, "test", str(shared_data), 0)
    assert len(problems) == count == len({problem["id"] for problem in problems})
    assert all(problem["problem"].endswith(f"? {problem['answer']}") for problem in problems)


def test_a_file(tmp_path):
    (tmp_path / "own.txt").write_text(FILE)
    problems = sources.load(f"{tmp_path}/own.txt", "train", "", 0)
    assert [problem["id"] for problem in problems] == ["first", "second"]
    statement = "a b c = triangle a b c; d = midpoint d a b ? coll a d b"
    assert (problems[0]["problem"], problems[0]["answer"]) == (statement, "coll a d b")


@pytest.mark.parametrize("text, line", [
    (b"one\na b = segment a b\n", "line 2: no goal"),
    (b"\none\n\na b = segmnt a b ? cong a b b a", "line 4: clause 'a b = segmnt a b': unknown construction 'segmnt'"),
    (b"one\na b = segment a b ? cong a b b a\ntwo\n", "line 3: no statement follows the name 'two'"),
    (b"one\na b = segment a b ? cong a b b a\n" * 2, "line 3: 'one' is the name in line 1 too"),
    (b"one\na b = segment a \xff ? cong a b b a\n", "line 2: expected text in UTF-8"),
])  # fmt: skip
def test_a_wrong_line_is_named(tmp_path, text, line):
    (tmp_path / "own.txt").write_bytes(text)
    with pytest.raises(UsageError) as error:
        read_geometry(tmp_path / "own.txt")
    assert str(error.value).startswith(f"{tmp_path}/own.txt, {line}") and "\n" not in str(error.value)


def test_no_file(tmp_path):
    with pytest.raises(UsageError, match="cannot read it"):
        read_geometry(tmp_path / "own.txt")
    with pytest.raises(UsageError, match="imo_ag_30.txt is not there"):
        sources.load("imo_ag_30", "test", str(tmp_path), 0)
    with pytest.raises(UsageError, match="has 'test'"):
        sources.load("imo_ag_30", "train", str(tmp_path), 0)
