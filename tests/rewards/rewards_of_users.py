"""Reward functions as users might write them, most of them broken."""

import ctypes
import os

from rl_reason.rewards import Verdict


def length(completion, problem):
    return len(completion) / 10


def by_verdict(completion, problem):
    return Verdict(2.0, "correct", completion[::-1])


def returns_bool(completion, problem):
    return "yes" in completion


def moody(completion, problem):
    """Does what the completion says."""
    if completion == "raise":
        raise KeyError("missing")
    if completion == "hang":
        while True:
            pass
    if completion == "exit":
        os._exit(0)
    if completion == "segfault":
        ctypes.string_at(0)
    return {"nan": float("nan"), "inf": -float("inf"), "large": 1e300, "huge": 10**400, "text": "1", "none": None,
            "list": [1], "dict": {"score": 1}}.get(completion, 1.0)


def slow(completion, problem, limit):
    """Another number each time, so that it shows what was asked once; for "late" with the verdict of the limit."""
    made = float.fromhex("0x" + os.urandom(4).hex())
    return Verdict(made, "timeout", "") if completion == "late" else made


slow.own_limit = 5.0


KEPT = []


def hungry(completion, problem):
    """Keeps what it took, as a library's cache does."""
    if completion == "eat":
        while True:
            KEPT.append(bytearray(1 << 24))
    return 1.0


def picky(completion, problem):
    return 1.0


def _check_gold(problem):
    if problem["answer"] == "hang":
        while True:
            pass
    if problem["answer"] != "fine":
        raise ValueError(f"{problem['answer']!r} is not to my taste")


picky.check_gold = _check_gold
