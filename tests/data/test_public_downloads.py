"""Public data sets from download to problems, through array_record files, in a process without TensorFlow.

A server on this machine stands in for the authors', with files in their format; the rest is what a first run does.
"""

import base64
import csv
import functools
import importlib.util
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import threading
import zlib
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GSM8K = (
    "raw.githubusercontent.com/openai/grade-school-math/3101c7d5072418e28b9008a6636bde82a006892c/grade_school_math/data"
)
MATH = "people.eecs.berkeley.edu/~hendrycks/MATH.tar"

GPQA = "raw.githubusercontent.com/idavidrein/gpqa/56686c06f5e19865c153de0fdb11be3890014df7/dataset.zip"
MMLU = "people.eecs.berkeley.edu/~hendrycks/data.tar"
LIVECODEBENCH = (
    "huggingface.co/datasets/livecodebench/code_generation_lite/resolve/0fe84c3912ea0c4d4a78037083943e8f0c4dd505"
)

# argv: data set, address of a server in place of the authors', splits. Prints the problems.
PROGRAM = """
import importlib, json, sys
name, address, *splits = sys.argv[1:]
builder = importlib.import_module(f"rl_reason.data.{name}.{name}_dataset_builder")
original = builder._URL
builder._URL = address + "/" + original.partition("://")[2]

from rl_reason.data import sources
for attempt in range(2):
    problems = {split: list(sources.load(name, split, "", 0)) for split in splits}
assert "tensorflow" not in sys.modules
print("RESULT", json.dumps({"problems": problems}))
"""


def run(name: str, served: Path, prepared: Path, splits: tuple[str, ...] = ("train", "test")) -> dict:
    """Loads the splits twice in a new process, from a server on this machine; counts what it was asked for."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=served)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, name, f"http://127.0.0.1:{server.server_port}", *splits],
            env={**os.environ, "TFDS_DATA_DIR": str(prepared), "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1"},
            capture_output=True,
            text=True,
        )
        server.shutdown()
    assert done.returncode == 0, done.stderr[-3000:]
    assert list(prepared.rglob("*.array_record*"))
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    return {**json.loads(line.removeprefix("RESULT")), "stderr": done.stderr, "asked": sorted(asked)}


@pytest.fixture
def without_tensorflow():
    if importlib.util.find_spec("tensorflow"):
        pytest.skip("TensorFlow is installed: nothing shows that it is not needed")


def test_gsm8k(tmp_path, without_tensorflow):
    served = tmp_path / "served"
    folder = served / GSM8K
    folder.mkdir(parents=True)
    for split, count in (("train", 40), ("test", 3)):
        rows = [{"question": f"é {i}?", "answer": f"<<{i}*1000>>\n#### {i + 1},000"} for i in range(count)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    result = run("gsm8k", served, tmp_path / "prepared")
    train, test = result["problems"]["train"], result["problems"]["test"]
    assert (len(train), len(test)) == (40, 3)
    assert [problem["id"] for problem in train] == [f"gsm8k/train/{i:05d}" for i in range(40)]
    assert test[2] == {
        "id": "gsm8k/test/00002",
        "problem": "é 2?",
        "answer": "3000",
        "solution": "<<2*1000>>\n#### 3,000",
        "source": "gsm8k_test",
    }
    assert result["asked"] == [f"/{GSM8K}/test.jsonl", f"/{GSM8K}/train.jsonl"]


def test_math(tmp_path, without_tensorflow):
    served, tree = tmp_path / "served", tmp_path / "tree"
    rows = {
        "train/algebra/10": ("Level 5", "so $\\boxed{1}$ or rather $\\boxed{\\frac{1}{2}}$"),
        "train/algebra/9": ("Level ?", "\\boxed{9}"),
        "train/algebra/11": ("Level 1", "\\boxed{}"),
        "train/geometry/1": ("Level 2", "\\boxed 7"),
        "test/algebra/0": ("Level 3", "\\boxed{0}"),
    }
    for path, (level, solution) in rows.items():
        file = tree / "MATH" / f"{path}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        row = {"problem": f"{path}?", "level": level, "type": "Algebra", "solution": solution}
        file.write_text(json.dumps(row), encoding="utf-8")
    (served / MATH).parent.mkdir(parents=True)
    with tarfile.open(served / MATH, "w") as archive:
        archive.add(tree / "MATH", "MATH")
    result = run("math", served, tmp_path / "prepared")
    train, test = result["problems"]["train"], result["problems"]["test"]
    assert [(p["id"], p["answer"], p.get("level")) for p in train] == [
        ("math/train/algebra/9", "9", None),
        ("math/train/algebra/10", "\\frac{1}{2}", 5),
        ("math/train/geometry/1", "7", 2),
    ]
    assert [(p["id"], p["subject"], p["source"]) for p in test] == [("math/test/algebra/0", "Algebra", "math_test")]
    assert "3 problems, 1 without an answer left out" in result["stderr"]
    assert result["asked"] == [f"/{MATH}"]


def test_mmlu(tmp_path, without_tensorflow):
    served, tree = tmp_path / "served", tmp_path / "tree"
    rows = {
        "test/zoology_test": [["Which, then?", " one", "2,5", '"three"', "4", "C"], ["é?", "a", "b", "c", "d", "A"]],
        "test/anatomy_test": [["Two\nlines?", "a", "b", "c", "d", "D"]],
        "val/anatomy_val": [["V?", "a", "b", "c", "d", "B"]],
        "dev/anatomy_dev": [["D?", "a", "b", "c", "d", "B"]],
        "auxiliary_train/race": [["another form"]],
    }
    for path, lines in rows.items():
        file = tree / "data" / f"{path}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w", encoding="utf-8", newline="") as out:
            csv.writer(out).writerows(lines)
    (served / MMLU).parent.mkdir(parents=True)
    with tarfile.open(served / MMLU, "w") as archive:
        archive.add(tree / "data", "data")
    result = run("mmlu", served, tmp_path / "prepared", ("test", "validation", "dev"))
    test = result["problems"]["test"]
    assert [(p["id"], p["answer"]) for p in test] == [
        ("mmlu/test/anatomy/0000", "D"), ("mmlu/test/zoology/0000", "C"), ("mmlu/test/zoology/0001", "A"),
    ]  # fmt: skip
    assert test[1]["choices"] == ["one", "2,5", '"three"', "4"] and test[1]["subject"] == "zoology"
    assert test[1]["problem"] == 'Which, then?\n(A) one\n(B) 2,5\n(C) "three"\n(D) 4'
    assert test[0]["problem"].startswith("Two\nlines?\n(A) a")
    assert [len(result["problems"][split]) for split in ("validation", "dev")] == [1, 1]
    assert result["asked"] == [f"/{MMLU}"]


PASSWORD = b"deserted-untie-orchid"


def write_encrypted(path: Path, name: str, content: bytes) -> None:
    """A zip archive with one file under PASSWORD, in the old encryption of PKWARE (APPNOTE, section 6.1), which
    Python reads and does not write."""
    table = [functools.reduce(lambda c, _: (c >> 1) ^ (0xEDB88320 * (c & 1)), range(8), i) for i in range(256)]
    keys = [0x12345678, 0x23456789, 0x34567890]

    def update(byte: int) -> None:
        keys[0] = (keys[0] >> 8) ^ table[(keys[0] ^ byte) & 255]
        keys[1] = ((keys[1] + (keys[0] & 255)) * 134775813 + 1) & 0xFFFFFFFF
        keys[2] = (keys[2] >> 8) ^ table[(keys[2] ^ (keys[1] >> 24)) & 255]

    def encrypt(byte: int) -> int:
        word = (keys[2] | 2) & 0xFFFF
        update(byte)
        return byte ^ ((word * (word ^ 1) >> 8) & 255)

    for byte in PASSWORD:
        update(byte)
    crc = zlib.crc32(content)
    data = bytes(encrypt(byte) for byte in bytes(11) + bytes([crc >> 24]) + content)
    # Flag 1: encrypted. Method 0: stored.
    common = struct.pack("<HHHHHIIIHH", 20, 1, 0, 0, 0x21, crc, len(data), len(content), len(name), 0)
    local = b"PK\3\4" + common + name.encode()
    central = b"PK\1\2" + struct.pack("<H", 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name.encode()
    end = struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local) + len(data), 0)
    path.write_bytes(local + data + central + b"PK\5\6" + end)


def test_gpqa_diamond(tmp_path, without_tensorflow):
    text = io.StringIO(newline="")
    columns = ["Subdomain", "Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2"]
    columns += ["Incorrect Answer 3", "Record ID", "Canary String"]
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    for i in range(40):
        answers = dict(zip(columns[2:6], [f"right {i}\n", "no, not", "never", '"quoted"'], strict=True))
        writer.writerow({"Subdomain": "Optics", "Question": f"Why {i}?\n", **answers, "Record ID": f"rec{i}"})
    archive = tmp_path / "served" / GPQA
    archive.parent.mkdir(parents=True)
    write_encrypted(archive, "dataset/gpqa_diamond.csv", text.getvalue().encode())
    result = run("gpqa_diamond", tmp_path / "served", tmp_path / "prepared", ("test",))
    problems = result["problems"]["test"]
    assert [problem["id"] for problem in problems] == [f"gpqa/rec{i}" for i in range(40)]
    for i, problem in enumerate(problems):
        assert problem["choices"]["ABCD".index(problem["answer"])] == f"right {i}" and len(problem["choices"]) == 4
        assert problem["problem"].startswith(f"Why {i}?\n(A) {problem['choices'][0]}\n(B) ")
    # Not always in the same place, and in the same one in every run.
    assert {problem["answer"] for problem in problems} == set("ABCD")
    assert "".join(problem["answer"] for problem in problems[:8]) == "DAAACCCA"


def test_livecodebench(tmp_path, without_tensorflow):
    served = tmp_path / "served" / LIVECODEBENCH
    served.mkdir(parents=True)
    case = {"input": "1\n", "output": "2\n", "testtype": "stdin"}
    hidden = base64.b64encode(zlib.compress(pickle.dumps(json.dumps([case] * 2)))).decode()
    for i, name in enumerate(("test", "test2", "test3", "test4", "test5", "test6")):
        row = {
            "question_title": "t", "question_content": f"Q{i}", "platform": "atcoder", "question_id": f"q{i}",
            "contest_id": "c", "contest_date": "2024-08-03T07:00:00", "starter_code": "", "difficulty": "hard",
            "public_test_cases": json.dumps([case]), "private_test_cases": hidden, "metadata": "{}",
        }  # fmt: skip
        (served / f"{name}.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    result = run("livecodebench", tmp_path / "served", tmp_path / "prepared", ("test", "2024-08..2024-08"))
    problems = result["problems"]["test"]
    assert [problem["id"] for problem in problems] == [f"livecodebench/q{i}" for i in range(6)]
    assert problems[0] == {
        "id": "livecodebench/q0", "problem": "Q0", "prompt": "Q0", "prompt_type": "instruction", "subject": "hard",
        "source": "livecodebench", "date": "2024-08-03", "cases": [{"input": "1\n", "output": "2\n"}] * 3,
    }  # fmt: skip
    assert result["problems"]["2024-08..2024-08"] == problems
    assert len(result["asked"]) == 6


def test_a_failed_download_is_one_line_that_names_the_way_out(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    from rl_reason.data import sources
    from rl_reason.errors import RunError

    def data_source(*args, **kwargs):
        raise OSError("no route to host\nand more")

    monkeypatch.setattr(tfds, "data_source", data_source)
    with pytest.raises(RunError, match="no route to host.*config.data.dir") as error:
        sources.load("gsm8k", "train", "", 0)
    assert "\n" not in str(error.value)
