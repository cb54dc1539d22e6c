"""What of a training set an evaluation asks: by definition, on public data, and as a command."""

import json
import sys

import pytest

from rl_reason import contamination
from rl_reason.data.contamination import Evaluated, read_texts
from rl_reason.errors import UsageError

ASKED = "one two three four five six seven eight nine ten"


def test_shares_of_runs():
    [found] = Evaluated([ASKED], n=3, share=0.5).find("zero one two three four five six seven")
    assert (found.of, found.share, found.share_back, found.same) == (0, 5 / 8, 5 / 6, False)
    assert not Evaluated([ASKED], n=3, share=0.63).find("zero one two three four five six seven")


def test_a_part_of_a_longer_text_counts_where_it_is_asked_for():
    longer = f"{ASKED} {' '.join(f'w{i}' for i in range(100))}"
    assert not Evaluated([ASKED], 3, 0.6).find(longer)
    [found] = Evaluated([ASKED], 3, 0.6, within=True).find(longer)
    assert found.share == 1


def test_the_same_letters_are_the_same_text():
    [found] = Evaluated(["What is $2 + 3x$?"], 8, 0.6).find("what is \\(2+3 x\\)")
    assert found.same


def ran(monkeypatch, *flags):
    monkeypatch.setattr(sys, "argv", ["contamination", *flags])
    contamination.main()


@pytest.mark.parametrize(
    "train, evaluation, same, near", [("math_train", "math500", 1, 32), ("gsm8k_train", "gsm8k_test", 0, 2)]
)
def test_known_overlaps_of_public_data(shared_data, train, evaluation, same, near):
    """As the data's own README counts them."""
    asked, trained = (
        [text for _, text in read_texts(str(shared_data / "math" / f"{name}.jsonl"), "", "", 0)]
        for name in (evaluation, train)
    )
    evaluated = Evaluated(asked, 8, 0.6)
    found = [evaluated.find(text) for text in trained]
    assert sum(any(one.same for one in of_row) for of_row in found) == same
    assert sum(map(bool, found)) == near


def test_command(tmp_path, monkeypatch, capsys):
    rows = [{"id": "p", "problem": ASKED}, {"text": f"{ASKED} more"}, {"messages": [{"role": "user", "content": "hi"}]}]
    train, asked, report = (tmp_path / name for name in ("train.jsonl", "asked.jsonl", "report.jsonl"))
    train.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked.write_text(json.dumps({"id": "q", "prompt": ASKED}) + "\n")
    ran(monkeypatch, f"--train={train}", f"--evaluation={asked}", f"--output={report}", "--n=3")
    made = [json.loads(line) for line in report.read_text().splitlines()]
    assert [(one["row"], one["id"], one["of"], one["same"]) for one in made] == [
        (1, "p", "q", True),
        (2, "2", "q", False),
    ]
    assert made[1]["share"] == 1 and made[1]["share_of_training"] == pytest.approx(8 / 9, abs=1e-4)
    assert "2 pairs" in capsys.readouterr().out


@pytest.mark.parametrize(
    "flags, told",
    [
        (["--n=0"], "--n=0: expected at least 1 word"),
        (["--share=1.5"], "--share=1.5: expected more than 0, at most 1"),
        (["--output=/nowhere/report.jsonl"], "--output=/nowhere/report.jsonl: no such folder"),
        (["--train=TRAIN+TRAIN"], "expected names joined by \\+, each once"),
        (["--train=EMPTY"], "holds no rows"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(tmp_path, monkeypatch, flags, told):
    (tmp_path / "train.jsonl").write_text('{"problem": "a"}\n')
    (tmp_path / "empty.jsonl").write_text("")
    named = lambda flag: flag.replace("TRAIN", str(tmp_path / "train.jsonl")).replace(  # noqa: E731
        "EMPTY", str(tmp_path / "empty.jsonl")
    )
    base = [f"--train={tmp_path}/train.jsonl", f"--evaluation={tmp_path}/train.jsonl", f"--output={tmp_path}/r.jsonl"]
    with pytest.raises(UsageError, match=told):
        ran(monkeypatch, *base, *map(named, flags))


@pytest.mark.parametrize("row", [{"id": 1}, {"problem": 3}, {"messages": [{"role": "user"}]}, {"text": " "}])
def test_a_row_without_a_text_is_named(tmp_path, row):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"problem": "a"}\n' + json.dumps(row) + "\n")
    with pytest.raises(UsageError, match=f"{file}, line 2: .*expected a text"):
        read_texts(str(file), "", "", 0)
