"""GSM8K and MATH from download to problems, through array_record files, in a process without TensorFlow.

A server on this machine stands in for the authors', with files in their format; the rest is what a first run does.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GSM8K = (
    "raw.githubusercontent.com/openai/grade-school-math/3101c7d5072418e28b9008a6636bde82a006892c/grade_school_math/data"
)
MATH = "people.eecs.berkeley.edu/~hendrycks/MATH.tar"

# argv: data set, address of a server in place of the authors'. Prints the problems.
PROGRAM = """
import importlib, json, sys
name, address = sys.argv[1:]
builder = importlib.import_module(f"rl_reason.data.{name}.{name}_dataset_builder")
original = builder._URL
builder._URL = address + "/" + original.partition("://")[2]

from rl_reason.data import sources
for attempt in range(2):
    problems = {split: list(sources.load(name, split, "", 0)) for split in ("train", "test")}
assert "tensorflow" not in sys.modules
print("RESULT", json.dumps({"problems": problems}))
"""


def run(name: str, served: Path, prepared: Path) -> dict:
    """Loads both splits twice in a new process, from a server on this machine; counts what it was asked for."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=served)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, name, f"http://127.0.0.1:{server.server_port}"],
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
