"""Rewards as users write them, outside the package: commands that tests start find this file on PYTHONPATH."""

import os
import pathlib
import time


def letters(completion, problem):
    """The share of characters that are small letters: differs between random completions, so that gradients do not
    vanish. `SECONDS_PER_REWARD` slows a run down, so that it can be stopped at a given step. While the file `STUCK` is
    there, problems in whose id its text stands take long, and a file beside it says that one was met."""
    time.sleep(float(os.environ.get("SECONDS_PER_REWARD", "0")))
    stuck = pathlib.Path(os.environ.get("STUCK", "no such file"))
    if stuck.exists() and stuck.read_text() in problem["id"]:
        stuck.with_suffix(".met").touch()
        time.sleep(90)
    return sum("a" <= character <= "z" for character in completion) / max(1, len(completion))


def many_letters(completion, problem):
    """1 where half of the characters are small letters: right or wrong."""
    return float(letters(completion, problem) >= 0.5)


def letters_of_some(completion, problem):
    """`letters` for half of the problems; 0 for the others, whose groups teach nothing."""
    return letters(completion, problem) if sum(problem["id"].encode()) % 2 else 0.0


def letters_or_none(completion, problem):
    """`letters`, which fails on some completions."""
    if len(completion) % 4 == 1:
        raise RuntimeError("no such luck")
    return letters(completion, problem)


def letters_told(completion, problem):
    """`letters`, which notes in the folder `GRADED` what the command's process has graded."""
    with open(os.path.join(os.environ["GRADED"], str(os.getppid())), "a") as file:
        file.write(".")
    return letters(completion, problem)


def question_told(problem):
    """A template, which notes in the folder `GRADED` the problems that the command's process has written out."""
    with open(os.path.join(os.environ["GRADED"], f"{os.getpid()}.asked"), "a") as file:
        file.write(problem["id"] + "\n")
    return problem["problem"]


def troubled(completion, problem):
    """Goes wrong in the way that the problem says."""
    trouble = problem.get("trouble")
    if trouble == "raise":
        raise RuntimeError("no such luck")
    if trouble == "hang":
        while True:
            time.sleep(1)
    if trouble == "nan":
        return float("nan")
    if trouble == "die":
        os._exit(3)
    return letters(completion, problem)


def letters_of_steps(steps, problem):
    """`letters` of each step."""
    return [letters(step, problem) for step in steps]


def one_step_short(steps, problem):
    """Rewards that do not fit the steps."""
    return [1.0] * (len(steps) - 1)
