"""A grader as users write them."""

import os
import time

from rl_reason.rewards import Verdict


def no_capital(completion, problem):
    """Correct without a capital letter."""
    correct = not any(character.isupper() for character in completion)
    return Verdict(float(correct), "correct" if correct else "wrong", completion)


def slowly_no_capital(completion, problem):
    """The same, so slowly that a command can be stopped in the middle."""
    time.sleep(float(os.environ.get("SECONDS_PER_REWARD", "0")))
    return no_capital(completion, problem)
