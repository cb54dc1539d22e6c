"""The commands of the configs of paper size, as these write them in their docstrings."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Mapping

from experiments.catalogue import ROOT
from rl_reason.errors import UsageError

NAMES = ("DIR", "DATA", "TEACHER")
"""What stands in these commands for something of the user's."""


def commands(config: str) -> list[str]:
    """What a config's docstring runs: trainings of paper size, one of each config, and what is done with their models.

    A second training of a config is another way to ask for it, and one without a folder a part of a command.
    """
    tree = ast.parse((ROOT / "configs" / f"{config}.py").read_text())
    text = re.sub(r"\\\n\s*", " ", ast.get_docstring(tree) or "")
    written = [re.sub(r"\s+", " ", line.strip()) for line in re.findall(r"^\s+(python -m rl_reason\..*)$", text, re.M)]
    trainings: dict[str, str] = {}
    for line in written:
        of_paper_size = re.search(r"rl_reason\.train --config=(configs/\w+\.py) .*--workdir=", line)
        if of_paper_size:
            trainings.setdefault(of_paper_size[1], line.replace("--workdir=DIR", f"--workdir=DIR/full/{config}"))
    folders = [re.search(r"--workdir=(\S+)", line)[1] for line in trainings.values()]  # type: ignore[index]
    behind = [line for line in written if any(f"--model={folder}/" in line for folder in folders)]
    return [*trainings.values(), *behind]


def fill(command: str, values: Mapping[str, str]) -> str:
    """A command with values for `NAMES`; a name without a value stays."""
    for name in NAMES:
        if values.get(name):
            command = re.sub(rf"\b{name}\b", lambda _, name=name: values[name], command)  # type: ignore[misc]
    return command


def arguments(command: str, python: str) -> list[str]:
    """What starts a command.

    Raises:
        UsageError: a name is left that stands for something of the user's.
    """
    left = [name for name in NAMES if re.search(rf"\b{name}\b", command)]
    if left:
        raise UsageError(f"{command}: {', '.join(left)} stands there; expected --{left[0].lower()}=VALUE with --start")
    words = shlex.split(command)
    return [python, *words[1:]]
