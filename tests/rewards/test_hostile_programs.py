"""Programs that attack the grader `code`: never right, always ended in time, and nothing of them left."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import hostile_programs as hostile
import pytest

from rl_reason.rewards.code import _jail, code

ROOT = Path(__file__).resolve().parents[2]
PROBLEM = {"tests": hostile.TESTS, "entry_point": "secret"}


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield server


@pytest.fixture
def fill(tmp_path, listener, monkeypatch):
    """The program of that name, with what it looks for in its place."""
    monkeypatch.setenv("RL_REASON_SECRET", "1")

    def fill(name: str, tmp: Path = Path("/tmp")) -> str:
        port = listener.getsockname()[1]
        places = {"@TMP@": tmp, "@ROOT@": ROOT, "@MARK@": tmp_path / "below" / "mark", "@PORT@": port}
        text = hostile.PROGRAMS[name]
        for place, value in places.items():
            text = text.replace(place, str(value))
        return text.replace("WIN", "973150824613")

    return fill


def descendants() -> dict[int, str]:
    """Process → its command, of all that come from this one."""
    found, parents = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            parents[int(folder.name)] = int(fields[1])
            found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return {pid: found[pid] for pid in ours - {os.getpid()} if pid in found}


def connections(listener) -> int:
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


@pytest.mark.parametrize("name", hostile.PROGRAMS)
def test_never_right_and_nothing_left(name, fill, tmp_path, listener, isolation):
    _jail(True).start()
    before, files = descendants(), sorted(os.listdir(tmp_path))
    # What ends by itself is not cut off before it has shown what it can do.
    limit = 1.0 if name in hostile.ENDLESS else 20.0
    began = time.monotonic()
    problem = PROBLEM | {"tests": hostile.TESTS_OF.get(name, hostile.TESTS)}
    verdict = code(fill(name), problem, limit).verdict
    assert verdict in ("wrong", "unparseable", "timeout", "crash")
    # The jail's own limits, on a machine that does other things too; what is told of is that it ends.
    assert time.monotonic() - began < limit + 15
    assert descendants() == before, "the jail and its process, and no other"
    assert connections(listener) == 0
    assert sorted(os.listdir(tmp_path)) == files
    assert code(hostile.HONEST, PROBLEM, 20.0).verdict == "correct"


def test_nothing_is_left_for_the_next_program(isolation):
    leave = "import os\ndef secret(x):\n    open('/tmp/left', 'w').close(); os.environ['LEFT'] = '1'; return 0"
    look = "import os\ndef secret(x): return 973150824613 if os.listdir('/tmp') or 'LEFT' in os.environ else 0"
    assert [code(text, PROBLEM, 20.0).verdict for text in (leave, look)] == ["wrong", "wrong"]


@pytest.mark.parametrize("name", hostile.AGAINST_A_NAIVE_RUNNER)
def test_the_attacks_are_real(name, fill, tmp_path, listener):
    """The same programs against program and tests in one script, whose exit status is the verdict."""
    script = tmp_path / "naive.py"
    script.write_text(fill(name, tmp_path) + hostile.TESTS_OF.get(name, hostile.TESTS))
    null = subprocess.DEVNULL  # A pipe would be held open by what is left behind.
    done = subprocess.run([sys.executable, script], cwd=tmp_path, stdin=null, stdout=null, stderr=null, timeout=20)
    match name:
        case "write outside":
            assert (tmp_path / "below" / "mark").exists()
        case "leave a daemon":
            left = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if str(script) in command(pid)]
            assert left
            for pid in left:
                os.kill(pid, signal.SIGKILL)
        case _:
            assert done.returncode == 0
    assert connections(listener) == (name == "loopback")


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
