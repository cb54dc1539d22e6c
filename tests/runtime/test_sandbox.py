"""The parts of the sandbox one by one; what all of them keep from a program is in tests/rewards."""

import contextlib
import errno
import math
import os
import struct
import subprocess
import sys
import time
from decimal import Decimal
from fractions import Fraction

import pytest

from rl_reason.runtime.sandbox import codec, confine
from rl_reason.runtime.sandbox.jail import Jail

OBJECTS = [object(), object()]


class Odd(int):
    __eq__ = __ne__ = lambda *a: True
    __hash__ = int.__hash__


class Pair(tuple):
    __iter__ = __len__ = None


def across(value, shared=None):
    data = codec.encode(value, [] if shared is None else list(shared), OBJECTS.index)
    return codec.decode(data, [] if shared is None else list(shared), OBJECTS.__getitem__)


@pytest.mark.parametrize("value", [
    None, True, False, 0, -1, 10 ** 4000, -(1 << 70), 0.1, -0.0, math.inf, 1e-320, 2 + 3j, "", "é\ud800\n\0", b"\xff\0",
    bytearray(b"ab"), [], [1, [2, "x"]], (), (1,), {1, "a", (2,)}, frozenset([1]), {}, {"a": {1: [None]}, (1, 2): 3},
    range(3, 1, -2), Decimal("1.10"), Fraction(1, 3), int, ValueError, [True, 1, 1.0], OBJECTS[1],
])  # fmt: skip
def test_values_come_back(value):
    back = across(value)
    assert back == value and type(back) is type(value) and repr(back) == repr(value)


@pytest.mark.parametrize("value, expected", [(Odd(3), 3), (Pair((1, 2)), (1, 2)), ([Odd(1)], [1])])
def test_subclasses_come_as_what_is_built_in(value, expected):
    back = across(value)
    assert expected == back and type(back) is type(expected) and not (back != expected)
    assert math.isnan(across(math.nan))


def test_containers_keep_who_they_are():
    inner = [1]
    outer = [inner, inner, {}]
    outer.append(outer)
    back = across(outer)
    assert back[0] is back[1] and back[3] is back and back[0] is not inner
    assert across([inner], shared=[outer, inner])[0] is inner


@pytest.mark.parametrize("data", [
    b"", b"N N", b"NN", b"?", b"i12", b"ix\n", b"s5\nab", b"s-1\n", b"lffffffffff\n", b"l2\nN", b"r0\n", b"r-1\n",
    b"h7\n", b"u1\nl0\n", b"d1\nl0\nN", b"l1\n" * 2000 + b"N", b"fa\nnot a float", b"x" + b"s2\nos" * 2, b"ys4\neval",
    b"s1\n\xff", b"c" + b"s0\n" * 2, b"g" + b"N" * 3,
])  # fmt: skip
def test_what_is_no_value_is_refused(data):
    with pytest.raises(codec.Malformed):
        codec.decode(data, [], OBJECTS.__getitem__)


def test_too_much_is_refused():
    part = "x" * (codec.LARGEST // 8)
    for value in (8 * part, [part] * 8, {1: [part] * 4, 2: [part] * 4}, [0] * codec.LARGEST, 1 << 8 * codec.LARGEST):
        with pytest.raises(ValueError, match="larger"):
            codec.encode(value, [], codec.nothing_else)
    nested = []
    for _ in range(10_000):
        nested = [nested]
    with pytest.raises(ValueError, match="nested"):
        codec.encode(nested, [], codec.nothing_else)
    read, write = os.pipe()
    os.write(write, (1 << 50).to_bytes(8, "big"))
    with pytest.raises(codec.Malformed):
        codec.receive(read)
    os.close(write)
    os.close(read)


def filtered(machine: str, number: int, flags: int = 0, other_machine: bool = False) -> int:
    """What the filter says of a system call, by the rules of linux/bpf_common.h."""
    column, architecture, _ = confine._MACHINES[machine]
    data = struct.pack("=IIQ6Q", number, architecture + other_machine, 0, flags, 0, 0, 0, 0, 0)
    program = [struct.unpack("=HBBI", one) for one in confine._filter(machine)]
    place = value = 0
    while True:
        code, yes, no, operand = program[place]
        place += 1
        match code:
            case 0x20:
                value = struct.unpack_from("=I", data, operand)[0]
            case 0x15 | 0x35 | 0x45:
                holds = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}[code]
                place += yes if holds else no
            case 0x06:
                return operand
            case _:
                raise AssertionError(code)


@pytest.mark.parametrize("machine, clone, usual", [
    ("x86_64", 56, [0, 1, 2, 3, 9, 12, 202, 231, 257, 53]),  # read, write, open, …, exit_group, openat, socketpair
    ("aarch64", 220, [63, 64, 56, 57, 222, 214, 98, 94, 199]),
])  # fmt: skip
def test_the_filter(machine, clone, usual):
    """By the numbers of the kernel's tables for both machines, of which tests run on one only."""
    allow, deny = 0x7FFF0000, 0x00050000 | errno.EPERM
    assert all(filtered(machine, number) == allow for number in usual)
    column = confine._MACHINES[machine][0]
    for name, numbers in confine._DENIED.items():
        if numbers[column] is not None:
            assert filtered(machine, numbers[column]) == deny, name
    assert filtered(machine, clone, 17) == deny and filtered(machine, clone, 0x3D0F00) == allow
    assert filtered(machine, 435) == 0x00050000 | errno.ENOSYS
    assert filtered(machine, 0, other_machine=True) == 0x80000000
    assert (filtered(machine, 0x40000001) == deny) == (machine == "x86_64")


def test_without_walls_processes_end_as_well():
    program = "import os, time\ndef f(x):\n    time.sleep(1000)"
    with Jail(isolated=False) as jail:
        assert jail.examine([program], "f(1)", "f", "", 1.0) == "timeout"
        assert jail.examine(["def f(x): return x"], "assert f(1) == 1", "f", "", 20.0) == "correct"
        pid = jail._process.pid
        assert not [other for other in os.listdir("/proc") if other.isdigit() and parent(other) == pid]
        folder = os.readlink(f"/proc/{pid}/cwd")
        assert "rl_reason_program_" in folder
    assert not os.path.exists(f"/proc/{pid}") and not os.path.exists(folder)


@pytest.mark.parametrize("isolated", [True, False])
def test_a_program_has_its_own_descriptors_only(isolated, request):
    if isolated:
        request.getfixturevalue("isolation")
    program = """
import os
def is_open(number):
    try: return bool(os.fstat(number))
    except OSError: return False
print([number for number in range(4096) if is_open(number)])
"""
    with contextlib.ExitStack() as stack:
        for _ in range(300):  # What is opened next, as the jail's control, has a higher number.
            stack.enter_context(open(os.devnull))
        jail = stack.enter_context(Jail(isolated))
        assert jail.run([program], "", 20.0) == ("ok", "[0, 1, 2, 3, 4]\n")


def parent(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0


@pytest.mark.parametrize("isolated", [True, False])
def test_a_jail_ends_with_who_started_it(isolated, request, tmp_path):
    if isolated:
        request.getfixturevalue("isolation")
    program = f"""
import os
from rl_reason.runtime.sandbox.jail import Jail
jail = Jail({isolated}); jail.start(); print(jail._process.pid, flush=True); os.kill(os.getpid(), 9)
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, timeout=20, env=environment
    )
    pid = int(done.stdout)
    limit = time.monotonic() + 10
    while alive(pid) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not alive(pid) and not os.listdir(tmp_path)


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return "Z" not in file.read().rpartition(")")[2].split()[0]
    except OSError:
        return False
