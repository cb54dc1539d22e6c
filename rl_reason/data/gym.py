"""Problems of the package `reasoning-gym`, made from a seed, by name: `gym:countdown?min_numbers=3&max_numbers=4`.

To which split a question belongs, a hash of its text says: the splits cannot share one, whatever the seeds and the
settings of the task.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from rl_reason import gym_tasks
from rl_reason.data.word_problems import SIZES
from rl_reason.errors import UsageError, nearest

PREFIX = "gym:"
HELD_OUT = 4
"""One question in so many is held out."""
CHUNK = 1000
"""Entries that follow from one seed of the package."""
MOST_MISSES = 1000
"""After so many entries in a row that are no problem of the split, there are no more to be had."""
EXAMPLES = {"graph_color": "possible_answer", "rubiks_cube": "example_correct_answer"}
"""Tasks without an answer that have one of several among what is known of the problem."""


class GymProblems(Sequence):
    """The problems of a split, in the order in which the task makes them; made when they are asked for, and kept.

    Args:
        name: `gym:TASK`, or with settings, `gym:TASK?key=value&key=value`.
        split: "train" or "test".
        seed: of the training split; the test split is the same for every seed.

    Raises:
        UsageError: the package is not there, a task that is unknown or refused, or settings that are wrong. Later, the
            task makes too few problems of the split.
    """

    def __init__(self, name: str, split: str, seed: int):
        self._name, self._split, self._seed = name, split, 0 if split == "test" else seed
        place = f"config.data.name={name!r}"
        if split not in SIZES:
            raise UsageError(f"config.data.split={split!r}: {name} has {', '.join(SIZES)}")
        self._task, mark, pairs = name.removeprefix(PREFIX).partition("?")
        gym_tasks.check_task(self._task, place)
        gym_tasks.check_package(place)
        self._settings = _read_settings(self._task, pairs, place) if mark else {}
        try:
            gym_tasks.make_task(self._task, self._settings)
        except (AssertionError, ValueError) as error:
            raise UsageError(f"{place}: {error}") from None
        self._made: list[dict] = []
        self._more = self._stream()

    def __len__(self) -> int:
        return SIZES[self._split]

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        while len(self._made) <= index:
            self._made.append(next(self._more))
        return self._made[index]

    def _stream(self) -> Iterator[dict]:
        misses, reason = 0, ""
        for number, entry in self._entries():
            problem = None
            if isinstance(entry, Exception):
                reason = f" ({entry})" if str(entry) else f" ({type(entry).__name__})"
            else:
                problem = self._problem(number, entry)
            if problem is not None:
                misses = 0
                yield problem
                continue
            misses += 1
            if misses == MOST_MISSES:
                raise UsageError(
                    f"config.data.name={self._name!r}: the task made {misses} entries in a row that are no problems of "
                    f"the split {self._split!r}{reason}; expected settings that allow more questions"
                )

    def _entries(self) -> Iterator[tuple[int, dict | Exception]]:
        """What the task makes, numbered, without end; an error where it fails, as some do for some seeds."""
        number = 0
        while True:
            text = f"{self._split}/{self._seed}/{number // CHUNK}"
            seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) >> 1
            task = gym_tasks.make_task(self._task, self._settings, seed, CHUNK)
            for index in range(CHUNK):
                try:
                    with gym_tasks.quiet():
                        entry = task[index]
                except Exception as error:
                    entry = error
                yield number, entry
                number += 1

    def _problem(self, number: int, entry: dict) -> dict | None:
        """The entry as a problem; None where it belongs to the other split, or nobody can say its answer, since an
        answer is read without the blanks around it."""
        question = entry["question"]
        # As text what JSON has no form for: fractions of gsm_symbolic, which its verifier does not read.
        metadata = json.loads(json.dumps(entry["metadata"], default=str))
        held_out = int.from_bytes(hashlib.sha256(question.encode()).digest()[:4]) % HELD_OUT == 0
        if held_out != (self._split == "test"):
            return None
        answer = entry["answer"]
        if self._task in EXAMPLES:
            example = metadata[EXAMPLES[self._task]]
            answer = example if isinstance(example, str) else json.dumps(example)
        if not answer or answer != answer.strip():
            return None
        return {
            "id": f"{self._name}/{self._split}/{self._seed}/{number}",
            "problem": question,
            "answer": answer,
            "source": f"{PREFIX}{self._task}",
            "entry": {"task": self._task, "settings": self._settings, "metadata": metadata},
        }


def _read_settings(task: str, text: str, place: str) -> dict[str, Any]:
    known = gym_tasks.settings_of(task)
    settings: dict[str, Any] = {}
    for pair in text.split("&"):
        key, mark, value = pair.partition("=")
        if key not in known:
            raise UsageError(f"{place}: {task} has no setting {key!r}{nearest(key, known)}")
        if key in settings or not mark:
            raise UsageError(f"{place}: expected one value of {key}, as in {key}={known[key]}")
        kind = type(known[key])
        try:
            settings[key] = {"true": True, "false": False}[value.lower()] if kind is bool else kind(value)
        except (KeyError, ValueError):
            expected = "true or false" if kind is bool else "a whole number" if kind is int else "a number"
            raise UsageError(f"{place}: {key}={value!r}: expected {expected}") from None
    return settings
