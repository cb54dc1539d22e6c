"""Records of a run: what a line holds, and what a resumed run keeps."""

import json
import logging

import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from rl_reason.runtime.metrics import MetricsWriter, read_jsonl


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def events(folder):
    """Events of TensorBoard files: records of length [8 bytes], checksum [4], data, checksum [4]."""
    found = []
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        while content:
            size = int.from_bytes(content[:8], "little")
            found.append(Event.FromString(content[12 : 12 + size]))
            content = content[16 + size :]
    return found


def write_run(folder, steps):
    with MetricsWriter(folder, resume_step=-1) as writer:
        writer.write_eval({"step": 0, "dataset": "d", "pass@1": 0.1})
        for step in steps:
            writer.write(step, {"loss": 1.0 / step})
            writer.write_samples([{"step": step, "completion": "c"}])
        writer.write_eval({"step": steps[-1], "dataset": "d", "pass@1": 0.5})


def test_values_become_finite_json_numbers_or_null(tmp_path):
    with MetricsWriter(tmp_path, -1) as writer:
        writer.write(
            3,
            {
                "nan": float("nan"), "inf": np.float32(np.inf), "none": None, "int": np.int64(7),
                "f32": np.float32(0.1), "jax": jnp.asarray(2.5), "bf16": jnp.asarray(1.5, jnp.bfloat16),
                "bool": np.True_,
            },
        )  # fmt: skip
    text = (tmp_path / "metrics.jsonl").read_text()
    assert text.startswith('{"step": 3, ') and text.endswith("}\n") and text.count("\n") == 1
    assert json.loads(text) == {
        "step": 3, "nan": None, "inf": None, "none": None, "int": 7, "f32": 0.1, "jax": 2.5, "bf16": 1.5, "bool": 1,
    }  # fmt: skip


@pytest.mark.parametrize("value", ["text", np.zeros(2), [1.0]])
def test_value_that_is_no_number_is_an_error_that_names_it(tmp_path, value):
    with MetricsWriter(tmp_path, -1) as writer, pytest.raises(TypeError, match="reward/mean"):
        writer.write(1, {"reward/mean": value})


def test_lines_are_on_disk_at_once(tmp_path):
    writer = MetricsWriter(tmp_path, -1)
    writer.write(1, {"loss": 1.0})
    assert lines(tmp_path / "metrics.jsonl") == [{"step": 1, "loss": 1.0}]
    writer.close()


def test_nested_records_are_plain_and_step_comes_first(tmp_path):
    with MetricsWriter(tmp_path, -1) as writer:
        writer.write_eval({"dataset": "d", "pass@1_ci95": (np.float32(0.1), jnp.asarray(0.3)), "step": np.int32(2)})
        writer.write_samples([{"completion": "\ud800 </s>\n", "rewards": {"a": float("nan")}, "step": 1}])
    assert lines(tmp_path / "eval.jsonl") == [{"step": 2, "dataset": "d", "pass@1_ci95": [0.1, 0.3]}]
    assert (tmp_path / "eval.jsonl").read_text().startswith('{"step"')
    assert lines(tmp_path / "samples.jsonl") == [{"step": 1, "completion": "\ud800 </s>\n", "rewards": {"a": None}}]


def test_resuming_drops_later_steps_and_keeps_earlier_ones(tmp_path):
    write_run(tmp_path, [1, 2, 3, 4])
    with MetricsWriter(tmp_path, resume_step=2) as writer:
        writer.write(3, {"loss": 9.0})
    assert [(r["step"], r["loss"]) for r in lines(tmp_path / "metrics.jsonl")] == [(1, 1.0), (2, 0.5), (3, 9.0)]
    assert [r["step"] for r in lines(tmp_path / "samples.jsonl")] == [1, 2]
    assert [r["step"] for r in lines(tmp_path / "eval.jsonl")] == [0]


def test_fresh_start_keeps_nothing_and_resuming_at_zero_the_first_evaluation(tmp_path):
    write_run(tmp_path, [1])
    MetricsWriter(tmp_path, resume_step=0).close()
    assert [r["step"] for r in lines(tmp_path / "eval.jsonl")] == [0]
    MetricsWriter(tmp_path, resume_step=-1).close()
    assert (tmp_path / "eval.jsonl").read_text() == ""


@pytest.mark.parametrize("tail", [b'{"step": 2, "lo', b'{"step": 2, "t": "\xe4', b"nonsense\n", b"{}\n", b"[1]\n"])
def test_torn_last_line_is_dropped(tmp_path, tail):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1, "loss": 1.0}\n' + tail)
    with MetricsWriter(tmp_path, resume_step=5) as writer:
        writer.write(6, {"loss": 2.0})
    assert [r["step"] for r in lines(tmp_path / "metrics.jsonl")] == [1, 6]


def test_whole_last_line_without_its_newline_is_kept_apart_from_the_next(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}')
    with MetricsWriter(tmp_path, resume_step=1) as writer:
        writer.write(2, {})
    assert [r["step"] for r in lines(tmp_path / "metrics.jsonl")] == [1, 2]


def test_reading_a_file_that_is_being_written(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n{"st')
    assert list(read_jsonl(tmp_path / "metrics.jsonl")) == [{"step": 1}]
    assert list(read_jsonl(tmp_path / "absent.jsonl")) == []


def test_tensorboard_has_the_numbers_and_hides_the_steps_that_run_again(tmp_path):
    write_run(tmp_path, [1, 2])
    MetricsWriter(tmp_path, resume_step=1).close()
    written = events(tmp_path / "tensorboard")
    scalars = {(v.tag, e.step): v.simple_value for e in written for v in e.summary.value}
    assert scalars[("loss", 2)] == 0.5 and scalars[("eval/d/pass_1", 0)] == pytest.approx(0.1)
    # TensorBoard drops what it read of steps from that of a START event on.
    assert written[-1].step == 2 and written[-1].session_log.status == 1


def test_names_do_not_make_the_log_noisy(tmp_path, caplog):
    with caplog.at_level(logging.INFO), MetricsWriter(tmp_path, -1) as writer:
        writer.write(1, {"pass@1/train": 0.5})
    assert "pass" not in caplog.text


def test_other_hosts_write_nothing(tmp_path):
    with MetricsWriter(tmp_path / "none", -1, enabled=False) as writer:
        writer.write(1, {"loss": 1.0})
        writer.write_eval({"step": 1})
        writer.write_samples([{"step": 1}])
    assert not (tmp_path / "none").exists()
