"""The move of weights to the layout of decoding is timed, and what it sends is counted."""

import json
import sys

from benchmarks import move
from tests.end_to_end.commands import ROOT


def test_bytes_and_seconds(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    mesh = ("--config.mesh.data=1", "--config.mesh.fsdp=4", "--config.mesh.tensor=2")
    file = tmp_path / "move.json"
    monkeypatch.setattr(sys, "argv", ["move", "--config=configs/grpo_math.py:tiny", *mesh, f"--json={file}"])
    move.main()
    made = json.loads(file.read_text())
    assert made["devices"] == 8 and made["mesh"] == {"fsdp": 4, "tensor": 2}
    # In training each device holds an eighth of nearly all; decoding keeps attention whole.
    assert 4 * made["parameters"] / 8 <= made["bytes_trained"] < made["bytes_decoding"] < 4 * made["parameters"]
    assert made["bytes_by_kind"]["all-gather"] >= made["bytes_decoding"] - made["bytes_trained"] > 0
    assert made["move_s"] > 0 and made["copy_s"] > 0
