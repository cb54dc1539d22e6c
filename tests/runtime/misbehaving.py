"""Functions that the tests run in workers: well-behaved, and not."""

import ctypes
import os
import subprocess
import sys
import time


def double(x):
    return 2 * x


def hang(x):
    while x < 0:
        pass
    return x


def hang_in_c(x):
    """Holds the interpreter's lock: no other thread of the process runs any more."""
    if x < 0:
        ctypes.PyDLL(None).sleep(1000)
    return x


def hang_in_child(x):
    if x < 0:
        subprocess.run([sys.executable, "-c", "import time; time.sleep(1000)"])
    return x


def leave(x):
    if x < 0:
        os._exit(0)
    return x


def segfault(x):
    if x < 0:
        ctypes.string_at(0)
    return x


def fail(x):
    if x < 0:
        raise ValueError("negative\nand on two lines")
    return x


def quit_(x):
    if x < 0:
        sys.exit(3)
    return x


def opaque(x):
    return object() if x < 0 else x


def odd_values(x):
    print("printed by a worker")
    return {"nan": float("nan"), "text": "é\ud800\n", "x": x}


def length(text):
    return len(text)


def modules():
    return sorted(name for name in ("jax", "jaxlib", "numpy", "torch", "tensorflow") if name in sys.modules)


def pid():
    return os.getpid()


def slow(seconds):
    time.sleep(seconds)
    return seconds


def environment():
    return dict(os.environ)


KEPT = []


def eat(x):
    """Takes memory and keeps it, for a negative number."""
    while x < 0:
        KEPT.append(bytearray(1 << 24))
    return x


def eat_in_c(x):
    """Takes it where no Python exception is raised."""
    if x < 0:
        libc = ctypes.CDLL(None)
        libc.malloc.restype = ctypes.c_void_p
        ctypes.memset(libc.malloc(ctypes.c_size_t(1 << 31)), 1, 1 << 31)
    return x


def slow_or_hang(x):
    """As a grader of a hundredth of a second, but for negative numbers."""
    while x < 0:
        pass
    time.sleep(0.01)
    return x
