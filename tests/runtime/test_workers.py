"""The worker pool: right answers in order, and the right item blamed for whatever goes wrong."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rl_reason.errors import RunError
from rl_reason.runtime import worker_handle
from rl_reason.runtime.workers import Pool

HERE = Path(__file__).parent
M = "misbehaving:"


@pytest.fixture(scope="module", autouse=True)
def importable():
    sys.path.insert(0, str(HERE))
    yield
    sys.path.remove(str(HERE))


@pytest.fixture(scope="module")
def pool(importable):
    with Pool(2) as pool:
        yield pool


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_values_in_order(pool):
    outcomes = pool.map(M + "double", [(i,) for i in range(1000)], 5.0)
    assert [outcome.value for outcome in outcomes] == [2 * i for i in range(1000)]
    assert pool.map(M + "double", [], 5.0) == []


@pytest.mark.parametrize("function, status, message", [
    ("hang", "timeout", "0.5 s"),
    ("hang_in_c", "timeout", "0.5 s"),
    ("hang_in_child", "timeout", "0.5 s"),
    ("leave", "crash", "status 0"),
    ("segfault", "crash", "SIGSEGV"),
    ("fail", "error", "ValueError: negative and on two lines"),
    ("quit_", "error", "SystemExit: 3"),
    ("opaque", "error", "object"),
])
def test_the_right_item_is_blamed(pool, function, status, message):
    values = list(range(40))
    for bad in (5, 6, 39):
        values[bad] = -1
    outcomes = pool.map(M + function, [(value,) for value in values], 0.5)
    for value, outcome in zip(values, outcomes, strict=True):
        if value < 0:
            assert outcome.status == status and message in outcome.message and outcome.value is None, outcome
        else:
            assert (outcome.status, outcome.value, outcome.message) == ("ok", value, "")


def test_limit_is_of_each_item_not_of_the_chunk(pool):
    outcomes = pool.map(M + "slow", [(0.2,)] * 16, 1.0)
    assert all(outcome.status == "ok" for outcome in outcomes)


def test_large_and_odd_values(pool):
    texts = ["x" * n for n in (0, 10, 3_000_000, 70_000, 5)]
    assert [o.value for o in pool.map(M + "length", [(text,) for text in texts], 20.0)] == [len(t) for t in texts]
    value = pool.map(M + "odd_values", [({"a": [1, None]},)], 5.0)[0].value
    assert math.isnan(value["nan"]) and value["text"] == "é\ud800\n" and value["x"] == {"a": [1, None]}


def test_workers_import_no_jax(pool):
    assert pool.map(M + "modules", [()] * 4, 5.0)[0].value == []


def test_workers_see_no_secrets(monkeypatch):
    for name in ("HF_TOKEN", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "SSH_AUTH_SOCK", "JUDGE_URL"):
        monkeypatch.setenv(name, "a secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    with Pool(1, environment=["JUDGE_URL", "NOT_THERE"]) as pool:
        seen = pool.map(M + "environment", [()], 5.0)[0].value
    assert [name for name, value in seen.items() if value == "a secret"] == ["JUDGE_URL"]
    assert seen["PATH"] == os.environ["PATH"] and seen["LC_ALL"] == "C.UTF-8" and seen["JAX_PLATFORMS"] == "cpu"
    assert seen["CUDA_VISIBLE_DEVICES"] == seen["TPU_VISIBLE_DEVICES"] == ""
    assert "NOT_THERE" not in seen and "HOME" in seen


def test_the_documents_say_what_workers_see(monkeypatch):
    for name in (*worker_handle._KEPT, "LC_TIME", "PYTHONHASHSEED", "SHELL"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    with Pool(1) as pool:
        seen = pool.map(M + "environment", [()], 5.0)[0].value
    assert {*worker_handle._KEPT, "LC_TIME", "PYTHONHASHSEED"} <= seen.keys() and "SHELL" not in seen
    page = (HERE.parents[1] / "docs" / "rewards.md").read_text()
    assert [name for name in (*worker_handle._KEPT, "LC_…", "PYTHON…") if f"`{name}`" not in page] == []


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is of Linux")
@pytest.mark.parametrize("function", ["eat", "eat_in_c"])
def test_memory_costs_its_own_item_only(function):
    values = list(range(40))
    for bad in (5, 6, 39):
        values[bad] = -1
    with Pool(2, memory_GiB=0.5) as pool:
        outcomes = pool.map(M + function, [(value,) for value in values], 20.0)
    for value, outcome in zip(values, outcomes, strict=True):
        if value < 0:
            assert outcome.status == "crash"
            assert ("out of memory" if function == "eat" else "SIGSEGV") in outcome.message
        else:
            assert (outcome.status, outcome.value) == ("ok", value)


@pytest.mark.parametrize("count", [1, 2])
def test_what_hangs_delays_the_others_by_its_limit(monkeypatch, tmp_path, count):
    """As many workers as items that hang, which stand side by side. To start anew takes a worker two seconds here, and
    they are not on the batch's time."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "long_import.py").write_text(
        "import time\nfrom misbehaving import slow_or_hang\n"
        "def f(x): return slow_or_hang(x)\nf.prepare = lambda: time.sleep(2)\n")
    limit = 6.0
    values = [-1] * count + list(range(128))
    with Pool(count, preload=["long_import:f"]) as pool:
        pool.map("long_import:f", [(1,)] * 8, 60.0)
        start = time.monotonic()
        outcomes = pool.map("long_import:f", [(value,) for value in values], limit)
        took = time.monotonic() - start
    assert [outcome.status for outcome in outcomes] == ["timeout"] * count + ["ok"] * 128
    assert took < limit + 0.01 * 128 + 1.5, took


def test_a_function_that_cannot_be_imported_ends_the_call(pool):
    with pytest.raises(RunError, match="no_such"):
        pool.map("no_such_module:f", [(1,)], 5.0)
    with pytest.raises(RunError, match="nothing"):
        pool.map(M + "nothing", [(1,)], 5.0)
    assert pool.map(M + "double", [(4,)], 5.0)[0].value == 8


def test_interrupted_call_leaves_the_pool_usable(pool):
    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pool.map(M + "double", [(i,) for i in range(100)], 5.0, progress=stop)
    assert [o.value for o in pool.map(M + "fail", [(i,) for i in range(100)], 5.0)] == list(range(100))


def test_progress_counts_every_item(pool):
    seen = []
    pool.map(M + "leave", [(1,), (-1,), (2,)], 5.0, progress=seen.append)
    assert sum(seen) == 3


def test_close_leaves_no_process():
    with Pool(2) as pool:
        pids = {outcome.value for outcome in pool.map(M + "pid", [()] * 50, 5.0)}
        assert all(alive(pid) for pid in pids)
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
    with pytest.raises(RunError):
        pool.map(M + "pid", [()], 5.0)
    pool.close()


def test_cheap_functions_are_fast(pool):
    pool.map(M + "double", [(0,)] * 8, 5.0)
    start = time.monotonic()
    pool.map(M + "double", [(i,) for i in range(10_000)], 5.0)
    assert time.monotonic() - start < 5.0


@pytest.mark.parametrize("end", ["leave normally", "killed"])
def test_workers_end_with_the_parent(end):
    """Also where the parent is killed while a worker hangs inside C code."""
    program = f"""
import sys; sys.path.insert(0, {str(HERE)!r})
from rl_reason.runtime.workers import Pool
pool = Pool(1)
print(pool.map("misbehaving:pid", [()], 5.0)[0].value, flush=True)
if {end == "killed"}: pool.map("misbehaving:hang_in_c", [(-1,)], 1000.0)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True,
                              cwd=HERE.parents[1])
    pid = int(parent.stdout.readline())
    if end == "killed":
        time.sleep(0.5)
        assert alive(pid)
        parent.send_signal(signal.SIGKILL)
    parent.wait(timeout=20)
    parent.stdout.close()
    limit = time.monotonic() + 10
    while alive(pid) and time.monotonic() < limit:
        time.sleep(0.02)
    assert not alive(pid)


def test_a_worker_that_dies_between_calls_blames_nobody(pool):
    for pid in {outcome.value for outcome in pool.map(M + "pid", [()] * 50, 5.0)}:
        os.kill(pid, signal.SIGKILL)
    time.sleep(0.2)
    assert all(outcome.status == "ok" for outcome in pool.map(M + "pid", [()] * 50, 5.0))


def test_preload_needs_no_call(tmp_path, monkeypatch):
    """Workers import while the parent does other things; `prepare` is part of it and not on the first call's limit."""
    monkeypatch.syspath_prepend(str(tmp_path))
    mark = tmp_path / "ready"
    (tmp_path / "slow_to_import.py").write_text(
        "import time, pathlib\n"
        "def f(x): return x\n"
        "def prepare():\n"
        "    time.sleep(0.6)\n"
        f"    pathlib.Path({str(mark)!r}).touch()\n"
        "f.prepare = prepare\n")
    with Pool(1, preload=["slow_to_import:f"]) as pool:
        limit = time.monotonic() + 20
        while not mark.exists() and time.monotonic() < limit:
            time.sleep(0.02)
        assert mark.exists()
    with Pool(1) as pool:
        assert pool.map("slow_to_import:f", [(1,)], 0.4)[0].status == "ok"


def test_a_pool_can_be_closed_while_another_thread_waits_for_it():
    """Who waits gets an error, and no process stays, started late or in the place of a killed one."""
    pool, told = Pool(2), []

    def call():
        with pytest.raises(RunError, match="the pool of workers is closed") as error:
            pool.map(M + "hang", [(-1,)] * 4, 100.0)
        told.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    deadline = time.monotonic() + 60
    while not all(worker.items for worker in pool._workers):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    pids, begun = [worker.process.pid for worker in pool._workers], time.monotonic()
    pool.close()
    thread.join(5)
    assert told and not thread.is_alive() and time.monotonic() - begun < 5
    assert not any(alive(pid) for pid in [*pids, *(worker.process.pid for worker in pool._workers)])
    pool.close()


def test_texts_have_one_hash_in_all_workers():
    made = []
    for _ in range(2):
        with Pool(1) as one:
            made.append(one.map("builtins:hash", [("text",)], 60)[0])
    assert made[0] == made[1] and made[0].status == "ok"
