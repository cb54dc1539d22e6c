"""A grader as users write them."""

from rl_reason.rewards import Verdict


def no_capital(completion, problem):
    """Correct without a capital letter."""
    correct = not any(character.isupper() for character in completion)
    return Verdict(float(correct), "correct" if correct else "wrong", completion)
