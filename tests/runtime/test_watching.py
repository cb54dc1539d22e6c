"""Clock, watchdog and traces: what is told of a run while it goes on."""

from __future__ import annotations

import gzip
import json
import time

import jax
import jax.numpy as jnp
import pytest

from rl_reason.errors import UsageError
from rl_reason.runtime.clock import Clock
from rl_reason.runtime.trace import Trace, parse_steps
from rl_reason.runtime.watchdog import Watchdog


class Fed:
    def __init__(self):
        self.told = []

    def feed(self, what):
        self.told.append(what)


def test_phases_follow_each_other_and_make_up_the_step():
    fed = Fed()
    clock = Clock(3, fed)
    time.sleep(0.02)
    clock.restart()
    for phase, seconds in (("sample", 0.02), ("wait", 0.01), ("sample", 0.02), ("update", 0.03)):
        clock.begin(phase)
        time.sleep(seconds)
    clock.end()
    assert list(clock.phases) == ["sample", "wait", "update"]
    assert sum(clock.phases.values()) == pytest.approx(clock.seconds)
    assert 0.04 <= clock.phases["sample"] < clock.seconds < 1
    assert fed.told[-1] == "step 3, update" and fed.told[0] == "step 3, at its start"


def hang_in_here(seconds):
    time.sleep(seconds)


def test_a_phase_that_does_not_end_is_reported_with_every_stack(tmp_path, capfd):
    with Watchdog(0.2, tmp_path / "hangs.txt") as watchdog:
        for _ in range(4):  # what goes on is not reported
            watchdog.feed("step 1, sample")
            time.sleep(0.1)
        watchdog.feed("step 2, update")
        hang_in_here(0.9)
    report = (tmp_path / "hangs.txt").read_text()
    heads = [line for line in report.splitlines() if line.startswith("watchdog: ")]
    # After 0.2, 0.4 and 0.8 seconds.
    assert len(heads) == 3 and all(head.startswith("watchdog: step 2, update: ") for head in heads)
    assert report.count("hang_in_here") == 3 and "Thread 0x" in report
    assert "hang_in_here" in capfd.readouterr().err


def test_a_watchdog_that_is_switched_off_does_nothing(tmp_path):
    with Watchdog(0, tmp_path / "hangs.txt") as watchdog:
        watchdog.feed("step 1, sample")
    assert not (tmp_path / "hangs.txt").exists()


@pytest.mark.parametrize("text, steps", [("", []), ("3", [3]), ("3-5", [3, 4, 5])])
def test_steps_of_a_trace(text, steps):
    assert list(parse_steps(text)) == steps


@pytest.mark.parametrize("text", ["0", "x", "3-", "5-3", "-3", "1-2-3", "1.5"])
def test_steps_that_are_none_are_refused(text):
    with pytest.raises(UsageError, match=f"config.profile='{text}': expected a step"):
        parse_steps(text)


def test_a_trace_holds_phases_and_scopes_of_its_steps_alone(tmp_path):
    trace, finished = Trace(range(2, 4), tmp_path), []

    @jax.jit
    def work(x):
        with jax.named_scope("attention"):
            return jnp.tanh(x @ x)

    for step in range(1, 6):
        with trace.step(step, lambda step=step: finished.append(step)):
            clock = Clock(step, Fed())
            clock.begin(f"phase_{step}")
            work(jnp.ones((64, 64))).block_until_ready()
            clock.end()
    assert finished == [3]
    (file,) = tmp_path.glob("plugins/profile/*/perfetto_trace.json.gz")
    names = {event.get("name") for event in json.loads(gzip.open(file).read())["traceEvents"]}
    assert {"phase_2", "phase_3"} <= names and not {"phase_1", "phase_4"} & names
    (file,) = tmp_path.glob("plugins/profile/*/*.xplane.pb")
    assert b"/attention/" in file.read_bytes()  # of the program's instructions
