"""Two processes of four devices are one run, and the run that one process of eight devices makes."""

from __future__ import annotations

import json
import signal
import time

import pytest

from tests.end_to_end.commands import contents, read
from tests.end_to_end.test_resume import assert_same_run

MESH = ("--config.mesh.data=2", "--config.mesh.fsdp=2", "--config.mesh.tensor=2")
TOLD = ("--config.reward.names=('user_rewards:letters_told',)", "--config.data.template=user_rewards:question_told")


@pytest.fixture(scope="module")
def runs(commands, tmp_path_factory):
    """The folders of the same run by one process and by two, what the two printed, and a folder with what each of them
    graded and asked."""
    folder = tmp_path_factory.mktemp("hosts")
    graded = folder / "graded"
    graded.mkdir()
    arguments = [commands.grpo(folder / name, *MESH, *TOLD) for name in ("one", "two")]
    commands.succeed(arguments[0], devices=8, GRADED=str(folder))
    ended = commands.run_together([arguments[1]] * 2, devices=4, GRADED=str(graded))
    assert [process.returncode for process in ended] == [0, 0], ended[0].stderr + ended[1].stderr
    return folder, ended, graded


def test_same_records(runs):
    folder, _, _ = runs
    # Sums between processes are added in another order, and six updates carry it on.
    assert_same_run(folder / "one", folder / "two", rel=1e-4, abs=1e-6)
    environment = json.loads((folder / "two" / "environment.json").read_text())
    assert environment["hosts"] == 2 and sum(environment["devices"].values()) == 8


def test_one_host_writes_and_each_reads_and_grades_half(runs):
    folder, (first, other), graded = runs
    assert "before (step 0)" in first.stdout
    # The transport between CPUs talks on standard output, whatever one does, and its threads break into their lines.
    written = [line.strip() for line in other.stdout.splitlines()]
    lines = [line for line in written if line and "peer ranks" not in line and "Gloo" not in line]
    assert [line for line in lines if not line.isdigit()] == []
    assert "train" in first.stderr and "train" not in other.stderr
    names = [{path.relative_to(folder / run).parts[0] for path in (folder / run).rglob("*")} for run in ("one", "two")]
    assert names[0] == names[1]
    assert len(list((folder / "two" / "tensorboard").iterdir())) == 1
    # Six steps of 8 completions, evaluations of 8 problems: 2 samples before and after, 1 at step 3.
    sizes = [len(file.read_text()) for file in graded.iterdir() if file.suffix != ".asked"]
    assert len(sizes) == 2 and sizes[0] == sizes[1] == (6 * 8 + 2 * 16 + 8) / 2
    # Behind the problems that are trained on come the held-out ones, and nothing is read twice.
    one, other = (file.read_text().split() for file in graded.glob("*.asked"))
    (alone,) = (file.read_text().split() for file in folder.glob("*.asked"))
    assert sorted(one + other) == sorted(alone) and abs(len(one) - len(other)) <= 2


@pytest.mark.slow
def test_export_and_resume_do_not_depend_on_the_hosts(commands, runs, tmp_path):
    folder, _, _ = runs
    export = ["rl_reason.export", f"--workdir={folder / 'two'}"]
    commands.succeed([*export, f"--output={tmp_path / 'one'}"])
    ended = commands.run_together([[*export, f"--output={tmp_path / 'two'}"]] * 2, devices=2)
    assert [process.returncode for process in ended] == [0, 0], ended[1].stderr
    assert contents(tmp_path / "one") == contents(tmp_path / "two")

    # One bit of the newest checkpoint is another one: both hosts go on behind the one before it.
    damaged = folder / "two" / "checkpoints" / "6"
    longest = max((file for file in damaged.rglob("*") if file.is_file()), key=lambda file: file.stat().st_size)
    content = bytearray(longest.read_bytes())
    content[len(content) // 2] ^= 1
    longest.write_bytes(content)
    again = [commands.grpo(folder / run, *MESH, *TOLD, "--config.steps=8") for run in ("one", "two")]
    commands.succeed(again[0], devices=8, GRADED=str(tmp_path))
    ended = commands.run_together([again[1]] * 2, devices=4, GRADED=str(tmp_path))
    assert [process.returncode for process in ended] == [0, 0], ended[1].stderr
    warnings = [[line for line in process.stderr.splitlines() if "damaged" in line] for process in ended]
    assert len(warnings[0]) == 1 and warnings[0][0].endswith("that of step 4 is used") and not warnings[1]
    assert damaged.with_name("6.damaged").exists() and damaged.exists()
    assert [record["step"] for record in read(folder / "two" / "metrics.jsonl")] == list(range(1, 9))
    # The last step of before, which one run went on behind and the other made again, was evaluated on more samples.
    assert_same_run(folder / "one", folder / "two", rel=1e-4, abs=1e-6, names=("metrics.jsonl", "samples.jsonl"))


@pytest.mark.slow
def test_evaluate(commands, tmp_path):
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps({"problem": f"What is {i}?", "answer": str(i)}) + "\n" for i in range(5)))
    flags = [f"--model={commands.model}", f"--data={data}", "--max_tokens=12", "--batch=4"]
    arguments = ["rl_reason.evaluate", *flags, "--grader=user_graders:no_capital"]
    commands.succeed([*arguments, f"--output={tmp_path / 'one'}"], devices=4)
    ended = commands.run_together([[*arguments, f"--output={tmp_path / 'two'}"]] * 2, devices=2)
    assert [process.returncode for process in ended] == [0, 0], ended[1].stderr
    assert (tmp_path / "one/results.json").read_bytes() == (tmp_path / "two/results.json").read_bytes()
    one, two = ([json.loads(x) for x in (tmp_path / n / "samples.jsonl").open()] for n in ("one", "two"))
    for mine, theirs in zip(one, two, strict=True):
        # Devices of several hosts add up in another order.
        assert mine.pop("logprobs") == pytest.approx(theirs.pop("logprobs"), abs=1e-5)
        assert mine == theirs


def test_a_host_that_fails_says_why_and_the_others_stop(commands, tmp_path):
    good = commands.grpo(tmp_path / "run")
    first, other = commands.run_together([good, [*good, f"--config.data.name={tmp_path}/absent.jsonl"]], devices=2)
    assert other.returncode == 2
    assert [line for line in other.stderr.splitlines() if line.startswith("error:")] == [
        f"error: {tmp_path}/absent.jsonl: cannot read it: No such file or directory; expected one JSON object a line"
    ]
    (line,) = [line for line in first.stderr.splitlines() if line.startswith("error:")]
    assert first.returncode == 1 and "Traceback" not in first.stderr
    assert line.startswith("error: process 1 (") and "absent.jsonl: cannot read it" in line
    assert line.endswith("; the run stops")
    assert not (tmp_path / "run").exists()


def two_steps(run):
    metrics = run / "metrics.jsonl"
    return metrics.exists() and metrics.read_text().count("\n") >= 2


def stopped(commands, run, kind, victim, *flags, when=two_steps, seconds="0.1"):
    """Two processes of a run; a signal is sent to one of them `when(run)`. Exit statuses, seconds, and errors."""
    arguments = commands.grpo(run, "--config.mesh.data=2", "--config.steps=40", "--config.evaluation.samples=0", *flags)
    begun = []

    def send(started):
        deadline = time.monotonic() + 240
        while not when(run):
            assert time.monotonic() < deadline and all(process.poll() is None for process in started)
            time.sleep(0.05)
        begun.append(time.monotonic())
        started[victim].send_signal(kind)

    ended = commands.run_together([arguments] * 2, devices=1, meanwhile=send, SECONDS_PER_REWARD=seconds)
    return [one.returncode for one in ended], time.monotonic() - begun[0], [one.stderr for one in ended]


@pytest.mark.slow
def test_the_first_host_dies(commands, tmp_path):
    """jax's service lives in it, and its client ends the others at once, with a text of its own."""
    statuses, seconds, (_, errors) = stopped(commands, tmp_path / "run", signal.SIGKILL, 0)
    assert statuses in ([-signal.SIGKILL, 1], [-signal.SIGKILL, -signal.SIGABRT]) and seconds < 60
    assert "the leader task was preempted/died" in errors or "error: process 0 (" in errors


@pytest.mark.slow
def test_a_host_that_dies_is_named_and_the_others_stop(commands, tmp_path):
    statuses, seconds, (errors, _) = stopped(commands, tmp_path / "run", signal.SIGKILL, 1)
    assert statuses == [1, -signal.SIGKILL] and seconds < 60
    (line,) = [line for line in errors.splitlines() if line.startswith("error:")]
    assert line.startswith("error: process 1 (") and "has not been heard of for" in line
    assert "Traceback" not in errors


LONG = ("--config.evaluation.every=2", "--config.evaluation.problems=200", "--config.sampling.batch_size=8")


@pytest.mark.parametrize(
    ("flags", "when"),
    [
        # Orbax would ask jax's service between a save and the next update.
        pytest.param(
            ("--config.steps=12",), lambda run: (run / "checkpoints" / "4").exists(), marks=pytest.mark.slow
        ),
        # An evaluation of 25 batches, a second and a half each.
        (LONG, two_steps),
    ],
    ids=["behind a save", "in an evaluation"],
)
def test_sigterm_at_one_host_stops_all_behind_the_same_step(commands, tmp_path, flags, when):
    run = tmp_path / "run"
    statuses, seconds, errors = stopped(commands, run, signal.SIGTERM, 1, *flags, when=when, seconds="0.8")
    assert statuses == [143, 143] and seconds < 30
    lines = {line for text in errors for line in text.splitlines() if line.startswith("SIGTERM:")}
    step = read(run / "metrics.jsonl")[-1]["step"]
    assert lines == {f"SIGTERM: saved behind step {step}; the same command goes on there"}
    assert str(step) in {path.name for path in (run / "checkpoints").iterdir()}
    assert step == 2 or when is not two_steps


@pytest.mark.parametrize("flags", [["--processes=2"], ["--coordinator=here:1", "--processes=2", "--process=2"]])
def test_flags_that_do_not_fit_are_refused(commands, tmp_path, flags):
    ended = commands.run([*commands.grpo(tmp_path / "run"), *flags])
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1
    assert "expected HOST:PORT, a number N of processes, and 0 to N−1" in ended.stderr
    assert not (tmp_path / "run").exists()
