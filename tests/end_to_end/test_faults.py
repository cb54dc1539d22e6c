"""What takes a run away in the middle (a kill, SIGTERM, a full disk, a damaged checkpoint) costs it nothing."""

from __future__ import annotations

import collections
import os
import random
import resource
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.end_to_end.commands import contents, read
from tests.end_to_end.test_resume import assert_same_run

SLOW = {"SECONDS_PER_REWARD": "0.15"}


def start_until(commands, arguments, condition, **environment):
    """Starts a command and returns it when the condition holds."""
    process = commands.start(arguments, **environment)
    deadline = time.monotonic() + 240
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(process.communicate()[1])
        time.sleep(0.02)
    return process


def recorded(run, step):
    file = run / "metrics.jsonl"
    return lambda: file.exists() and f'"step": {step},' in file.read_text()


def below(pid: int) -> list[int]:
    """The processes that a process has started, and those that these have."""
    made = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        made += [int(child), *below(int(child))]
    return made


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_sigterm_saves_the_step_and_leaves_no_process(commands, finished_run, tmp_path):
    run = tmp_path / "run"
    process = start_until(commands, commands.grpo(run), recorded(run, 2), **SLOW)
    workers = below(process.pid)
    assert workers
    begun = time.monotonic()
    for pid in (*workers, process.pid):  # as a scheduler does that signals the whole group
        os.kill(pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143 and time.monotonic() - begun < 30
    told = [line for line in errors.splitlines() if "SIGTERM" in line]
    step = read(run / "metrics.jsonl")[-1]["step"]
    assert told == [f"SIGTERM: saved behind step {step}; the same command goes on there"]
    assert "Traceback" not in errors and str(step) in os.listdir(run / "checkpoints") and step < 6
    assert not any(map(is_there, workers))
    commands.succeed(commands.grpo(run))
    assert_same_run(finished_run, run)


@pytest.mark.slow
@pytest.mark.parametrize("problems", ["", "/test/"], ids=["grading", "evaluation"])
def test_sigterm_in_the_middle_of_something_long(commands, finished_run, tmp_path, problems):
    """What is under way takes longer than a scheduler waits: the step before it is saved. An evaluation that was cut
    off is made when the run goes on."""
    run, stuck = tmp_path / "run", tmp_path / "file"
    arguments = commands.grpo(
        run, "--config.reward.timeout=100", "--config.checkpoint.every=100", "--config.watchdog=3"
    )
    process = start_until(commands, arguments, recorded(run, 1), STUCK=str(stuck), **SLOW)
    stuck.write_text(problems)
    deadline = time.monotonic() + 60
    while not stuck.with_suffix(".met").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    workers = below(process.pid)
    process.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143 and time.monotonic() - begun < 30
    (step,) = (int(name) for name in os.listdir(run / "checkpoints"))
    assert [line for line in errors.splitlines() if "SIGTERM" in line] == [
        f"SIGTERM: saved behind step {step}; the same command goes on there"
    ]
    assert step == read(run / "metrics.jsonl")[-1]["step"] and (step == 3 or not problems)
    # The watchdog has told where it hangs; the run waits 5 s before it gives the step up.
    phase = f"step {step}, evaluate" if problems else f"step {step + 1}, reward"
    hangs = (run / "hangs_0.txt").read_text()
    assert f"watchdog: {phase}: " in hangs and "in grade" in hangs
    assert "Traceback" not in errors
    deadline = time.monotonic() + 10
    while any(map(is_there, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    commands.succeed(arguments)
    assert_same_run(finished_run, run)


def test_a_damaged_newest_checkpoint_costs_the_steps_behind_the_one_before(commands, finished_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    for file in (run / "checkpoints" / "6" / "state" / "d").iterdir():
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    done = commands.succeed(commands.grpo(run))
    (warning,) = [line for line in done.stderr.splitlines() if "damaged" in line]
    assert str(run / "checkpoints" / "6") in warning and warning.endswith("that of step 4 is used")
    assert_same_run(finished_run, run)
    assert set(os.listdir(run / "checkpoints")) == {"4", "6", "6.damaged"}


@pytest.mark.slow
def test_a_full_disk_stops_the_run_in_one_line(commands, finished_run, tmp_path):
    """No file may grow beyond a size: what a write says then is what it says on a disk without room."""
    run = tmp_path / "run"
    process = start_until(commands, commands.grpo(run), (run / "checkpoints" / "2").exists, **SLOW)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (30_000, 30_000))
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert line == f"error: {run / 'checkpoints' / '4'}: cannot save step 4: File too large"
    assert "Traceback" not in errors and "Event loop" not in errors, errors
    assert "2" in os.listdir(run / "checkpoints") and "4" not in os.listdir(run / "checkpoints")
    commands.succeed(commands.grpo(run))
    assert_same_run(finished_run, run)


@pytest.mark.slow
def test_the_best_checkpoint_stays_and_can_be_exported(commands, finished_run, tmp_path):
    run = tmp_path / "run"
    every = ("--config.evaluation.every=1", "--config.checkpoint.every=1", "--config.checkpoint.keep=1")
    judged = "--config.reward.names=('user_rewards:many_letters',)"
    traced = "--config.profile=2-3"
    commands.succeed(commands.grpo(run, *every, judged, traced, "--config.checkpoint.keep_best=1"))
    (trace,) = (file.read_bytes() for file in (run / "profile").glob("plugins/profile/*/*.xplane.pb"))
    assert all(name in trace for name in (b"/attention/", b"/mlp/", b"/logprobs/", b"update"))
    scores = {record["step"]: record["pass@1"] for record in read(run / "eval.jsonl") if record["step"]}
    assert len(set(scores.values())) > 1
    best = max(scores, key=lambda step: (scores[step], step))
    assert set(os.listdir(run / "checkpoints")) == {str(best), "6"}
    for step, expected in (("best", best), ("latest", 6), (str(best), best)):
        flags = ["rl_reason.export", f"--workdir={run}", f"--output={tmp_path / 'out' / step}", f"--step={step}"]
        done = commands.succeed(flags)
        assert f"The policy after step {expected} is in" in done.stdout
    if best != 6:
        assert contents(tmp_path / "out" / "best") != contents(tmp_path / "out" / "latest")
    for step in ("7", "newest"):
        flags = ["rl_reason.export", f"--workdir={run}", f"--output={tmp_path / step}", f"--step={step}"]
        done = commands.run(flags)
        assert done.returncode == 2 and f"--step={step}: expected latest, best or a step" in done.stderr
        assert not (tmp_path / step).exists()


@pytest.mark.slow
def test_a_run_goes_on_with_another_mesh(commands, finished_run, tmp_path):
    one, many = tmp_path / "one", tmp_path / "many"
    for run, devices, mesh in ((one, 1, ()), (many, 4, ("--config.mesh.data=2", "--config.mesh.fsdp=2"))):
        shutil.copytree(finished_run, run)
        commands.succeed(commands.grpo(run, *mesh, "--config.steps=8"), devices=devices)
        assert [record["step"] for record in read(run / "metrics.jsonl")] == list(range(1, 9))
    assert_same_run(one, many, rel=1e-3, abs=1e-5)


PHASES = ("sample", "reward", "update", "save")


def stopped_in(process, is_under_way, wait):
    """Stops a run a while after something is seen to begin. False where that was over by then."""
    deadline = time.monotonic() + 120
    while not is_under_way():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(wait)
    process.send_signal(signal.SIGSTOP)
    while Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "T":
        assert time.monotonic() < deadline
    # Nothing moves now, so what is under way is what a kill cuts off.
    return is_under_way()


@pytest.mark.slow
def test_twenty_kills(commands, finished_run, tmp_path):
    """Five each while a step samples, grades, updates and saves, at random moments within: the final weights are those
    of the run that nobody killed."""
    run, phase_file = tmp_path / "run", tmp_path / "phase"
    train, *flags = commands.grpo(run, "--config.checkpoint.every=1")
    assert train == "rl_reason.train"
    moments, slow = random.Random(0), {"SECONDS_PER_REWARD": "0.05", "PHASE": str(phase_file)}
    kills = collections.Counter()
    for step in range(2, 7):  # Each step is met again until it was killed in every phase.
        for phase in moments.sample(PHASES, len(PHASES)):
            seconds = {"sample": 0.05, "reward": 0.2, "update": 0.05, "save": 0.05}[phase]

            def is_under_way(step=step, phase=phase):
                if phase == "save":  # The folder gets its own name when all of it is there.
                    return any((run / "checkpoints").glob(f"{step}.*tmp*"))
                return phase_file.exists() and phase_file.read_text() == f"step {step}, {phase}"

            while kills[step, phase] == 0:
                phase_file.unlink(missing_ok=True)
                process = commands.start(["tests.end_to_end.phases_told", *flags], **slow)
                try:
                    is_met = stopped_in(process, is_under_way, moments.uniform(0, seconds))
                finally:
                    process.kill()
                    _, errors = process.communicate(timeout=30)
                assert process.returncode == -signal.SIGKILL, errors
                if is_met:
                    kills[step, phase] += 1
                else:  # As if it had never come so far, and sooner the next time.
                    shutil.rmtree(run / "checkpoints" / str(step), ignore_errors=True)
                    seconds /= 2
    assert kills == {(step, phase): 1 for step in range(2, 7) for phase in PHASES} and kills.total() == 20
    commands.succeed(commands.grpo(run, "--config.checkpoint.every=1"))
    assert_same_run(finished_run, run, rel=0, abs=0)
    for name in (finished_run, run):
        export = ["rl_reason.export", f"--workdir={name}", f"--output={tmp_path / 'out' / name.name}"]
        commands.succeed(export)
    one, other = (contents(tmp_path / "out" / name.name) for name in (finished_run, run))
    assert one == other
