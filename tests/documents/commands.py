"""The commands that stand in documents, as words.

A command stands in an indented block, in a block of bash, or between backticks where it begins with a program's name.
What it says to other hosts or behind `&&` are commands too.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "README.zh-CN.md", "CONTRIBUTING.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md")) + sorted((ROOT / "experiments").rglob("*.md"))
PAGES += sorted((ROOT / "configs").glob("*.py"))

FENCED = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^ {4}.*\n)+", re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")
ASSIGNMENT = re.compile(r"\s*[a-z_]+\.([\w.]+) = (.+)")
STATEMENT = re.compile(r"\s*[a-z]( [a-z])* = \w")
"""Of plane geometry, in its own language."""
PROGRAMS = re.compile(r"(?:\.venv/bin/)?(?:python3?|make|pip|rl-reason-\w+|gcloud|srun|wandb|apt-get|git)\s+\S")

Words = tuple[str, ...]


def texts(page: Path) -> Iterator[str]:
    """Pieces of a page that are commands, one or more lines of them."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".py":
        # Of a docstring, in which a backslash may stand doubled.
        docstring = re.match(r'r?"""(.*?)"""', text, re.DOTALL)
        text = docstring[1].replace("\\\\\n", "\\\n") if docstring else ""
    yield from (block for language, block in FENCED.findall(text) if language == "bash")
    text = usage(FENCED.sub("", text))
    yield from INDENTED.findall(text)
    for code in CODE.findall(INDENTED.sub("", text)):
        if PROGRAMS.match(code):
            yield " ".join(code.split())


def usage(text: str) -> str:
    """Where a text says how a command is used, the command with all that may be left out."""
    return re.sub(r" \[(--[^\]\s]+)\]", r" \1", text).replace("[:VARIANT]", ":tiny")


def lines(text: str) -> Iterator[str]:
    """Whole command lines: one goes on behind a backslash, and where a quote is open."""
    waiting = ""
    for line in text.splitlines():
        waiting = f"{waiting}\n{line}" if waiting else line
        if waiting.endswith("\\"):
            waiting = waiting[:-1]
            continue
        try:
            shlex.split(waiting, comments=True)
        except ValueError:
            continue
        yield waiting
        waiting = ""
    assert not waiting.strip(), f"a quote is not closed: {waiting}"


def simple(words: list[str]) -> Iterator[Words]:
    """Commands of one program each, without what stands before its name."""
    for part in _split(words, "&&"):
        while part and re.match(r"[A-Z_]+=", part[0]):
            part = part[1:]
        if part[:1] == ["srun"]:
            part = part[next(i for i, word in enumerate(part[1:], 1) if not word.startswith("-")) :]
        if not part or part[0] == "export":
            continue
        yield tuple(word for word in part if not word.startswith("--command="))
        for word in part:
            if word.startswith("--command="):
                yield from simple(shlex.split(word.partition("=")[2]))


def _split(words: list[str], mark: str) -> Iterator[list[str]]:
    part: list[str] = []
    for word in words:
        if word == mark:
            yield part
            part = []
        else:
            part.append(word)
    yield part


def commands(page: Path) -> list[Words]:
    found = []
    for text in texts(page):
        for line in lines(text):
            if not ASSIGNMENT.match(line) and not STATEMENT.match(line):
                # "…" stands for what is not said.
                found += simple(shlex.split(line.replace("…", ""), comments=True))
    return found


def assignments(page: Path) -> list[tuple[str, str]]:
    """Lines of a config, such as "config.steps = 3": the key without the config's name, and the value."""
    return [match.groups() for text in texts(page) for line in lines(text) if (match := ASSIGNMENT.match(line))]
