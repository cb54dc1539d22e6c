"""What goes to Weights & Biases: offline, into files that are read here as its own program writes them."""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path

import pytest

from rl_reason.errors import UsageError
from rl_reason.runtime import weights_and_biases
from rl_reason.runtime.metrics import MetricsWriter

BLOCK, FIRST, LAST = 32768, (1, 2), (1, 4)


def records(file: Path):
    """Of a .wandb file: LevelDB's log (blocks of chunks: checksum [4], length [2], type) behind a header of 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    content, place, found, whole = file.read_bytes(), 7, [], b""
    while place + 7 <= len(content):
        if BLOCK - place % BLOCK < 7:
            place += BLOCK - place % BLOCK
            continue
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        whole = (b"" if kind in FIRST else whole) + content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in LAST:
            found.append(wandb_internal_pb2.Record.FromString(whole))
    return found


def runs(folder: Path) -> list[dict]:
    """Each start of a run in a folder, the first one first: its id, project, config and rows."""
    import wandb

    wandb.teardown()  # A run that has ended is on its way to the disk.
    made = []
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        written = records(file)
        run = next(record.run for record in written if record.HasField("run"))
        rows = [record.history for record in written if record.HasField("history")]
        made.append(
            {
                "id": run.run_id, "project": run.project, "name": run.display_name,
                "config": {item.key: json.loads(item.value_json) for item in run.config.update},
                "rows": [{i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in row.item} for row in rows],
                "axes": [(r.metric.glob_name, r.metric.step_metric) for r in written if r.HasField("metric")],
                "exits": [record.exit.exit_code for record in written if record.HasField("exit")],
            }
        )  # fmt: skip
    return made


@pytest.fixture
def offline(monkeypatch, tmp_path):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "rising"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"steps": 2, "algorithm": {"kl_coef": 0.04}}))
    yield folder
    wandb.teardown()  # Of a process it keeps what the environment said first.


def test_a_run_that_is_resumed_goes_on_there(offline):
    with MetricsWriter(offline, -1, wandb="maths") as writer:
        writer.write_eval({"step": 0, "dataset": "d", "pass@1": 0.25, "pass@1_ci95": [0.1, 0.4]})
        writer.write(1, {"loss": 0.5, "reward/mean": float("nan")})
        writer.write(2, {"loss": 0.375})
    (offline / "config.json").write_text(json.dumps({"steps": 3, "algorithm": {"kl_coef": 0.04}}))
    with pytest.raises(KeyboardInterrupt), MetricsWriter(offline, 1, wandb="maths") as writer:
        writer.write(2, {"loss": 0.375})
        raise KeyboardInterrupt

    before, after = runs(offline)
    assert before["id"] == after["id"] == (offline / "wandb_id.txt").read_text().strip()
    assert before["project"] == after["project"] == "maths" and before["name"] == "rising"
    assert before["config"]["algorithm"] == {"kl_coef": 0.04} and after["config"]["steps"] == 3
    told = [{name: value for name, value in row.items() if not name.startswith("_")} for row in before["rows"]]
    assert told == [{"step": 0, "eval/d/pass@1": 0.25}, {"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.375}]
    assert [(row["step"], row["loss"]) for row in after["rows"]] == [(2, 0.375)]
    assert ("*", "step") in before["axes"] + after["axes"]
    assert before["exits"] == [0] and after["exits"] == [1]


def test_other_hosts_tell_nothing(offline):
    with MetricsWriter(offline, -1, wandb="maths", enabled=False) as writer:
        writer.write(1, {"loss": 0.5})
    assert [file.name for file in offline.iterdir()] == ["config.json"]


def test_without_a_key(offline, monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match=r"config\.log\.wandb='maths': .*wandb login.*WANDB_MODE=offline") as refused:
        MetricsWriter(offline, -1, wandb="maths")
    assert "\n" not in str(refused.value)


def test_without_the_package(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    weights_and_biases.check("")
    monkeypatch.setattr(metadata, "version", absent)
    weights_and_biases.check("")
    with pytest.raises(UsageError, match=r"config\.log\.wandb='maths': needs .* pip install 'rl_reason\[wandb\]'"):
        weights_and_biases.check("maths")


@pytest.mark.parametrize("project", ["/", "a/", "/b", "a/b/c"])
def test_what_names_no_project(project):
    with pytest.raises(UsageError, match="expected PROJECT or ENTITY/PROJECT"):
        weights_and_biases.check(project)
