"""Auxiliary constructions as a reward: right, wrong and late ones, and those that would assert what is to be proved."""

import json
import logging
import subprocess
import sys

import pytest

from rl_reason.data import sources
from rl_reason.data.iterators import EncodedPrompt
from rl_reason.errors import UsageError
from rl_reason.geometry import engine
from rl_reason.recipes.evaluation import HeldOut
from rl_reason.recipes.golds import readable
from rl_reason.rewards.combination import Rewarder
from rl_reason.rewards.geometry import check_gold, geometry
from rl_reason.rewards.verdict import UnparseableGold
from rl_reason.settings import Reward

needs_package = pytest.mark.skipif(not engine.is_installed(), reason=f"not installed: {engine.PACKAGES}")
MEDIANS = {
    "id": "medians",
    "problem": "a b c = triangle a b c; d = midpoint b c; e = midpoint a c; g = on_line a d, on_line b e;"
    "f = on_line c g, on_line a b ? midp f a b",
    "answer": "midp f a b",
}
FALSE = "a b c = triangle a b c; d = midpoint d a b ? perp a d b c"


@needs_package
@pytest.mark.parametrize("completion, verdict, extracted", [
    ("x = mirror a g", "correct", "x = mirror x a g"),
    ("<think>x = free x</think> We add <answer>x = mirror x a g; y = midpoint b g</answer>.", "correct",
     "x = mirror x a g; y = midpoint y b g"),
    ("<answer>x = midpoint d e</answer>", "wrong", "x = midpoint x d e"),
    # Two circles around one point, which do not meet.
    ("x = on_circle a b, on_circle a c", "wrong", "x = on_circle x a b, on_circle x a c"),
    # The goal itself, and what it follows from: of points that are there.
    ("x = midpoint f a b", "unparseable", "x = midpoint f a b"),
    ("x = midpoint x a b, midpoint x f f", "unparseable", "x = midpoint x a b, midpoint x f f"),
    ("x = midpoint x a b, mirror x a f", "unparseable", "x = midpoint x a b, mirror x a f"),
    ("We add x = mirror a g", "unparseable", "We add x = mirror a g"),
    ("", "unparseable", None),
    ("<think>x = mirror a g", "unparseable", None),
])  # fmt: skip
def test_verdicts(completion, verdict, extracted):
    made = geometry(completion, MEDIANS)
    assert (made.verdict, made.extracted, made.score) == (verdict, extracted, float(verdict == "correct"))


@needs_package
def test_what_is_late_is_told_as_that():
    assert geometry("x = mirror a g", MEDIANS, 0.001).verdict == "timeout"


@needs_package
def test_hostile_texts_are_unparseable_in_workers():
    texts = ["x = free x; " * 100_000, "a" * 1_000_000, "__import__('os').system('true')", "x = free x\x00", "\ud800"]
    texts += ["x = mirror x a g ? midp f a b", "; ".join(f"p{i} = free p{i}" for i in range(17)), "x = mirror a g"]
    with Rewarder(Reward(names=("geometry",), weights=(1.0,), workers=1)) as rewarder:
        graded = rewarder.grade(texts, [MEDIANS] * len(texts))
    assert graded.verdicts == ["unparseable"] * 7 + ["correct"], graded.failures


@needs_package
def test_an_unlucky_figure_is_not_wrong(monkeypatch):
    """Two circles meet in some drawings only: with a single drawing each, an addition that changes nothing but the
    random numbers does not make an answer wrong; one that has no figure does."""
    statement = "a b c d = quadrangle a b c d; e = on_circle a b, on_circle c d ? cong a b a e"
    problem = {"problem": statement, "answer": "cong a b a e"}
    monkeypatch.setattr(engine, "_DRAWINGS", 1)
    added = [f"x{number} = midpoint a b" for number in range(20)]
    ends = {}
    for text in added:
        try:
            ends[text] = geometry(text, problem).verdict
        except RuntimeError as error:
            ends[text] = str(error).partition(":")[0]
    assert set(ends.values()) == {"correct", "the statement cannot be constructed"}
    lucky = next(text for text, end in ends.items() if end == "correct")
    monkeypatch.setattr(engine, "_DRAWINGS", 100)
    assert geometry(f"{lucky}; y = on_circle a b, on_circle a c", problem).verdict == "wrong"


def test_what_is_no_statement():
    with pytest.raises(UnparseableGold, match="problem's statement 'a b = seg.*'q' is used before it is defined"):
        check_gold({"problem": "a b = segment a b; c = midpoint a q ? cong a c b c", "answer": "cong a c b c"})
    with pytest.raises(UnparseableGold, match="expected CLAUSES [?] GOAL"):
        check_gold({"answer": "cong a c b c"})


@needs_package
def test_a_statement_without_a_figure():
    check_gold(MEDIANS)
    with pytest.raises(UnparseableGold) as error:
        check_gold({"problem": FALSE, "answer": "perp a d b c"})
    expected = "cannot be constructed: no figure was found in which all that is said of it holds"
    assert str(error.value) == f"the problem's statement {FALSE!r} {expected}"


@needs_package
def test_a_data_set_with_a_statement_without_a_figure(tmp_path, caplog):
    """Told with file and line when it is loaded, or counted and listed; and never graded as wrong."""
    file = tmp_path / "own.txt"
    statements = [MEDIANS["problem"], FALSE, MEDIANS["problem"], FALSE]
    file.write_text("".join(f"\nname{place}\n{text}\n" for place, text in enumerate(statements)))
    problems = sources.load(str(file), "test", "", 0)[0:4]
    data = HeldOut(str(file), problems, [EncodedPrompt(place, [1]) for place in range(4)])
    with Rewarder(Reward(names=("geometry",), weights=(1.0,), workers=1)) as rewarder:
        with pytest.raises(UsageError) as error:
            readable(rewarder, data, "error")
        with caplog.at_level(logging.WARNING):
            kept = readable(rewarder, data, "drop")
        graded = rewarder.grade(["x = mirror a b"], [problems[1]])
    assert str(error.value).startswith(f"config.data.name='{file}', line 6: problem 'name1': reward 'geometry': the")
    assert "\n" not in str(error.value) and "cannot be constructed" in str(error.value)
    assert [prompt.index for prompt in kept.prompts] == [0, 2]
    assert "dropped 2 of 4 problems" in caplog.text and "1 more like it: 'name3'" in caplog.text
    assert graded.verdicts == ["crash"] and graded.counts["error"] == 1


def test_without_the_package(tmp_path, monkeypatch):
    (tmp_path / "rows.jsonl").write_text(json.dumps({"completion": "", **MEDIANS}) + "\n")
    program = (
        "import sys; from importlib import metadata; from rl_reason import errors, grade\n"
        "def version(name):\n"
        "    raise metadata.PackageNotFoundError(name)\n"
        "metadata.version = version\n"
        f"sys.argv = ['grade', '--grader=geometry', '--input={tmp_path}/rows.jsonl', '--output={tmp_path}/out.jsonl']\n"
        "errors.run_command(grade.main)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    line = "error: --grader: needs the package newclid; expected pip install 'rl_reason[geometry]'\n"
    assert (ran.returncode, ran.stderr) == (2, line)
