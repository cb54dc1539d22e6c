"""What of a training set an evaluation asks: by definition, on public data, and as a command."""

import json
import logging
import sys

import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from rl_reason import contamination
from rl_reason.data.contamination import Evaluated, Keys, read_texts
from rl_reason.errors import UsageError

KEYS = Keys("--train", "--train_split", "--dir")
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
        [text for _, text in read_texts(str(shared_data / "math" / f"{name}.jsonl"), "", "", 0, KEYS)]
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


GEOMETRY = "first\na b c = triangle a b c; d = foot d a b c ? perp a d b c\n"
PAGE = " ".join(f"w{i}" for i in range(100)) + f" {ASKED}\n"


def record_file(path, texts):
    writer = ArrayRecordWriter(str(path), "group_size:1")
    for text in texts:
        writer.write(json.dumps({"text": text}).encode())
    writer.close()


def rows_of_a_user(split, dir, seed):
    return [{"problem": "other words", "answer": "1"}, {"text": PAGE}]


def kinds(folder):
    """Name of a training set → (flags, id of the only text that has what is asked)."""
    pages = folder / "pages+more"
    pages.mkdir()
    (pages / "a.jsonl").write_text(json.dumps({"text": "other words"}) + "\n\n" + json.dumps({"text": PAGE}) + "\n")
    (pages / "notes.md").write_text("is none of them")
    for number, texts in enumerate((["other words"], ["more words", PAGE])):
        record_file(folder / f"b.array_record-{number:05d}-of-00002", texts)
    record_file(folder / "c.array_record", ["other words", PAGE])
    (folder / "d.txt").write_text(PAGE)
    pairs = [{"problem": "other words", "chosen": "a", "rejected": "b"}]
    pairs.append({"problem": ASKED, "chosen": "c", "rejected": "d"})
    (folder / "e.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    return {
        str(pages): f"{pages}/a.jsonl, line 3",
        f"{folder}/b.array_record": f"{folder}/b.array_record-00001-of-00002, record 1",
        f"{folder}/c.array_record": f"{folder}/c.array_record, record 1",
        f"{folder}/d.txt": f"{folder}/d.txt",
        f"{folder}/e.jsonl": "2",
        f"{__name__}:rows_of_a_user": "1",
    }


def test_command_reads_whatever_can_be_trained_on(tmp_path, monkeypatch, capsys, caplog):
    asked, report = tmp_path / "asked.jsonl", tmp_path / "report.jsonl"
    asked.write_text(json.dumps({"id": "q", "problem": ASKED, "answer": "1"}) + "\n")
    for name, id in kinds(tmp_path).items():
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            ran(monkeypatch, f"--train={name}", f"--evaluation={asked}", f"--output={report}", "--n=3", "--within")
        found = [json.loads(line) for line in report.read_text().splitlines()]
        assert [(one["train"], one["id"], one["of"], one["share"]) for one in found] == [(name, id, "q", 1)]
        passed_over, told = name.endswith("pages+more"), " ".join(caplog.messages)
        assert ("passed over 1 blank lines" in told and "1 of 2 entries" in told) == passed_over
    capsys.readouterr()
    ran(monkeypatch, f"--train={name}", f"--evaluation={asked}", f"--output={report}", "--n=3")
    assert not report.read_text() and "1 pairs more" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name, row, key", [("helpful_pairs", 3, "problem"), ("request_pairs", 3, "problem"), ("remarks", 1, "text")]
)
def test_command_reads_what_is_made(tmp_path, monkeypatch, name, row, key):
    from rl_reason.data import documents, labelled

    made = {**documents.MADE, **labelled.MADE}[name]("test", "", 0)
    asked, report = tmp_path / "asked.jsonl", tmp_path / "report.jsonl"
    asked.write_text(json.dumps({"id": "q", key: made[row][key]}) + "\n")
    ran(monkeypatch, f"--train={name}", "--train_split=test", f"--evaluation={asked}", f"--output={report}")
    same = [one for one in map(json.loads, report.read_text().splitlines()) if one["same"]]
    assert row + 1 in [one["row"] for one in same]
    id = f"remarks, document {row}" if name == "remarks" else made[row]["id"]
    assert id in [one["id"] for one in same]


def test_a_text_file_is_one_of_geometry_where_it_holds_a_statement(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("A page.\nWhat is a = b ? perp of course.\n")
    assert read_texts(str(file), "", "", 0, KEYS) == [(str(file), file.read_text())]
    file.write_text(f"# problems\n{GEOMETRY}")
    [(id, text)] = read_texts(str(file), "", "", 0, KEYS)
    assert id == "first" and text.startswith("a b c = triangle a b c;")
    file.write_text(f"{GEOMETRY}second\na b = segmen a b ? perp a b a b\n")
    with pytest.raises(UsageError, match=f"^--train: {file}, line 4: "):
        read_texts(str(file), "", "", 0, KEYS)


@pytest.mark.parametrize(
    "flags, told",
    [
        (["--train=exercize"], "--train='exercize': unknown name; did you mean 'exercises'"),
        (["--train=helpful_pair"], "--train='helpful_pair': unknown name; did you mean 'helpful_pairs'"),
        (["--evaluation=gsm9k"], "--evaluation='gsm9k': unknown name; did you mean 'gsm8k'"),
        (["--evaluation=gsm8k", "--dir=/nowhere"], "--dir='/nowhere': no such folder"),
        (["--train=word_problems", "--train_split=dev"], "--train_split='dev': word_problems has"),
        (["--train=exercises", "--train_split=dev"], "--train_split='dev': exercises has"),
        (["--evaluation=helpful_pairs", "--evaluation_split=dev"], "--evaluation_split='dev': helpful_pairs has"),
        (["--train=FOLDER"], "--train: 'FOLDER': holds no documents in its 1 entries (sub/); expected files .jsonl"),
        (["--train=FOLDER/none.txt"], "--train: FOLDER/none.txt: cannot read it: No such file"),
        (["--train=FOLDER/none.jsonl"], "--train: FOLDER/none.jsonl: cannot read it: No such file"),
        (["--train=FOLDER/sub"], "--train: FOLDER/sub/a.array_record: cannot read it: "),
    ],
)
def test_errors_name_the_flag(tmp_path, monkeypatch, flags, told):
    """And not the keys of a config."""
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.array_record").write_bytes(b"none")
    (tmp_path / "asked.jsonl").write_text('{"problem": "a"}\n')
    base = [f"--train={tmp_path}/asked.jsonl", f"--evaluation={tmp_path}/asked.jsonl", f"--output={tmp_path}/r.jsonl"]
    names = {flag.partition("=")[0] for flag in flags}
    given = [flag for flag in base if flag.partition("=")[0] not in names]
    with pytest.raises(UsageError) as error:
        ran(monkeypatch, *given, *(flag.replace("FOLDER", str(folder)) for flag in flags))
    line = str(error.value)
    assert line.startswith(told.replace("FOLDER", str(folder))) and "config." not in line and "\n" not in line


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
        read_texts(str(file), "", "", 0, KEYS)
