"""Progress and tables, as a terminal and a log file see them."""

import io
import time

import pytest
from rich.console import Console

from rl_reason.runtime import progress
from rl_reason.runtime.progress import Progress, duration, field_texts, table

FIELDS = {"reward": 0.25, "pass@1": 0.5, "length": 123.4, "KL": 1.2e-5, "entropy": float("nan")}


def console(terminal: bool, width: int = 100) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, _environ={"TERM": "xterm"})


def text(made: Console) -> str:
    assert isinstance(made.file, io.StringIO)
    return made.file.getvalue()


class Clock:
    """Time that passes only when told."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


def test_log_file_gets_plain_lines_with_the_fields(monkeypatch):
    clock, out = Clock(monkeypatch), console(False)
    with Progress(10, 0, "train", console=out) as bar:
        for step in range(1, 11):
            clock.now += 2
            bar.update(step, FIELDS)
    lines = text(out).splitlines()
    assert "\x1b" not in text(out) and "\r" not in text(out)
    assert lines[0] == "train 1/10  reward 0.25  pass@1 0.5  length 123  KL 1.2e-05  entropy –  18 s left"
    assert lines[-1].startswith("train 10/10") and "left" not in lines[-1]


def test_quick_steps_share_lines_and_slow_ones_have_one_every_five_seconds(monkeypatch):
    clock, out = Clock(monkeypatch), console(False)
    with Progress(100_000, 0, "quick", console=out) as bar:
        for step in range(1, 100_001):
            clock.now += 1e-5
            bar.update(step)
    assert 1 <= len(text(out).splitlines()) <= 3
    assert text(out).splitlines()[-1] == "quick 100000/100000"
    clock, out = Clock(monkeypatch), console(False)
    with Progress(10_000, 0, "slow", console=out) as bar:
        for step in range(1, 61):
            clock.now += 1
            bar.update(step)
    assert len(text(out).splitlines()) == 12


def test_steps_of_an_earlier_run_do_not_count_for_the_time_left(monkeypatch):
    clock = Clock(monkeypatch)
    bar = Progress(100, 90, "train", console=console(False))
    clock.now += 3
    bar.update(91)
    assert bar.time_left() == pytest.approx(27)
    clock.now += 2
    assert bar.time_left() == pytest.approx(25)


def test_time_left_forgets_the_compilation(monkeypatch):
    clock = Clock(monkeypatch)
    bar = Progress(200, 0, "train", console=console(False))
    for step in range(1, 101):
        clock.now += 100 if step == 1 else 1
        bar.update(step)
    assert bar.time_left() == pytest.approx(100)


def test_last_state_is_shown_when_an_error_ends_it():
    out = console(False)
    with pytest.raises(ZeroDivisionError), Progress(10, 0, "train", console=out) as bar:
        bar.update(4)
        raise ZeroDivisionError
    assert "train 4/10" in text(out)


def test_unknown_total():
    out = console(False)
    with Progress(None, 0, "read", console=out) as bar:
        bar.update(12)
    assert text(out).splitlines()[-1] == "read 12"


@pytest.mark.parametrize("total", [0, 1])
def test_nothing_to_do(total):
    with Progress(total, total, "train", console=console(True)):
        pass


def test_terminal_shows_bar_fields_and_notes_and_keeps_brackets():
    out = console(True)
    with Progress(10, 2, "train [tiny]", console=out) as bar:
        bar.update(5, FIELDS)
        bar.note("first [bold] result \x1b[31m")
    shown = text(out)
    for part in ("train [tiny]", "5/10", "reward 0.25", "KL 1.2e-05", "first [bold] result"):
        assert part in shown
    assert "\x1b[31m" not in shown


def test_terminal_is_redrawn_a_few_times_a_second_at_most():
    out = console(True)
    started = time.monotonic()
    with Progress(10**9, 0, "busy", console=out) as bar:
        step = 0
        while time.monotonic() - started < 1.0:
            step += 1
            bar.update(step, FIELDS)
    assert step > 10_000
    assert text(out).count("busy") <= 8


def test_table_without_terminal_keeps_long_cells_whole(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    table("Held out", ["data", "pass@1", "n"], [["word_problems[x]" + "y" * 60, 0.123456, 500], ["b", None, 7]])
    shown = capsys.readouterr().out
    assert "word_problems[x]" + "y" * 60 in shown and "0.1235" in shown and "–" in shown and "Held out" in shown
    assert max(map(len, shown.splitlines())) <= 100


@pytest.mark.parametrize(
    "seconds, shown", [(0, "0 s"), (59.4, "59 s"), (187, "3:07"), (3750, "1:02:30"), (183600, "2 d 3:00:00")]
)
def test_durations(seconds, shown):
    assert duration(seconds) == shown


def test_fields_without_a_number_are_dashes():
    assert field_texts({"a": None, "b": float("inf"), "c": 7}) == ["a –", "b –", "c 7"]
