"""Commands of paper size: all that is run on a pod to get the table of an experiment.

Each experiment has its own, a function `(Pod) -> commands` in `experiments/NAME/full.py`, made of the arms that its
`run.py` has. A training that several experiments need is the same command in each, and is printed once.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from experiments.commands import text
from rl_reason.errors import UsageError

NAMES = ("DATA", "TEACHER")
"""What stands in these commands for something of the user's that was not given."""
BASE = "Qwen/Qwen2.5-Math-7B"
"""What the policies and reward models of the configs of one stage are made of."""
MATH = {"data": "gsm8k+math", "template": "boxed_plain", "grader": "accuracy"}
"""What these configs ask, how, and who says what is right: flags of an evaluation."""

Command = tuple[str, ...]
Flags = Mapping[str, object]


@dataclass(frozen=True)
class Pod:
    """Where commands write to, and what of the user's they read."""

    output: str
    number: int = 1
    """Of seeds: 0, 1, …"""
    data: str = "DATA"
    """A folder with local files of the named data sets."""
    teacher: str = "TEACHER"
    """A host with OpenAI's API at port 8000."""

    @property
    def seeds(self) -> range:
        return range(self.number)

    def folder(self, *parts: object) -> str:
        return "/".join((self.output, "full", *map(str, parts)))

    def shared(self, config: str, seed: int, changes: Flags | None = None) -> tuple[str, Command]:
        """The folder and the command of a training that other experiments may need, too."""
        folder = self.folder(config, f"seed{seed}")
        return folder, train(f"configs/{config}.py", seed, folder, changes)


def python(module: str, flags: Flags, *words: str) -> Command:
    return ("python", "-m", module, *words, *(f"--{name}={value}" for name, value in flags.items()))


def train(config: str, seed: int, folder: str, changes: Flags | None = None) -> Command:
    """A training; `changes`: key of the config → value."""
    keys = {f"config.{key}": value for key, value in {"seed": seed, **(changes or {})}.items()}
    return python("rl_reason.train", {"config": config, **keys, "workdir": folder})


def evaluate(model: str, folder: str, *flags: Flags) -> Command:
    joined = {name: value for some in flags for name, value in some.items()}
    return python("rl_reason.evaluate", {"model": model, **joined, "output": folder})


def arguments(command: Command) -> list[str]:
    """What starts a command.

    Raises:
        UsageError: a name is left that stands for something of the user's.
    """
    left = [name for name in NAMES if any(re.search(rf"\b{name}\b", word) for word in command)]
    if left:
        raise UsageError(f"{text(command)}: {left[0]} stands there; expected --{left[0].lower()}=VALUE with --start")
    return [sys.executable, *command[1:]]
