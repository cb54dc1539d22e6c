"""Word problems of one event more than the longest that the shipped model was trained on."""

from __future__ import annotations

from rl_reason.data.word_problems import WordProblems, word_problems

EVENTS = 5


def five_events(split: str, dir: str, seed: int) -> WordProblems:
    """The data source `experiments.test_time_scaling.problems:five_events`; its splits are those of `word_problems`."""
    return WordProblems(split, word_problems(split, dir, seed).seed, (EVENTS, EVENTS))
