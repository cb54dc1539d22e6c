"""Starts the project's commands, and writes each down as it is typed: an arm of an experiment is a config and the keys
that it changes, and can be run by itself."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rl_reason.errors import RunError
from rl_reason.runtime.workdir import write_atomic

FILE = "commands.txt"
WRITING = threading.Lock()
"""Commands may be started from several threads."""


def text(command: Iterable[str]) -> str:
    """A command as it is typed; single quotes within a word leave it readable."""
    plain = re.compile(r"[^\"$`\\!]*'[^\"$`\\!]*")
    return " ".join(f'"{word}"' if plain.fullmatch(word) else shlex.quote(word) for word in command)


def note(folder: Path, commands: Iterable[Sequence[str]]) -> None:
    """Adds `python -m …` commands to FOLDER/commands.txt, those that do not stand there."""
    file = folder / FILE
    with WRITING:
        there = file.read_text().splitlines() if file.exists() else []
        lines = dict.fromkeys([*there, *(text(["python", "-m", *command]) for command in commands)])
        if [*lines] != there:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(file, "".join(f"{line}\n" for line in lines))


def call(
    command: Sequence[str], made: Path, log: Path | None = None, environment: Mapping[str, str] | None = None
) -> None:
    """Runs `python -m COMMAND`, which stands in commands.txt beside what it makes.

    Args:
        command: a module and its flags.
        made: the folder or file that it writes.
        log: where to put what it says; None: it is seen.
        environment: variables beside those of this process.

    Raises:
        RunError: it failed.
    """
    note(made.parent, [command])
    asked, env = [sys.executable, "-m", *command], os.environ | (environment or {})
    if log is None:
        failed = subprocess.run(asked, env=env).returncode
    else:
        with log.open("w") as file:
            failed = subprocess.run(asked, stdout=file, stderr=subprocess.STDOUT, env=env).returncode
    if failed:
        raise RunError(f"{made} failed" + (f"; {log} says why" if log else ""))
