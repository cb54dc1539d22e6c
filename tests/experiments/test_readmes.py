"""Tables in the README of an experiment have what is printed of the results that are kept."""

import importlib
import json
import re
from dataclasses import astuple

import pytest

from experiments.catalogue import EXPERIMENTS, HERE
from experiments.results import HEADS
from rl_reason.runtime.progress import _cell

# The tables of diagnostics stand in docs/diagnostics.md, and its own test compares them.
FOLDERS = sorted({one.folder for one in EXPERIMENTS.values() if one.file.exists()} - {"diagnostics"})
SHOW = {
    "alphageometry_engine": "engine.show",
    "o1": "figure.show",
    "ppo_vs_grpo_memory_measured": "run.show_measured",
    "test_time_scaling": "figures.show",
    "unsuccessful": "figures.show",
}
"""What prints the results; of the others it is `run.show`."""


def plain(cell):
    """Without what only one of the two is written with: marks of a text, another minus, commas in numbers."""
    return re.sub(r"(?<=\d),(?=\d{3})", "", re.sub(r"[`*\\]", "", _cell(cell)).replace("−", "-")).strip()


def tables(text):
    """Of a page: (heads, rows) of each table."""
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        heads, _, *rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in block.splitlines()]
        yield [*map(plain, heads)], [[*map(plain, row)] for row in rows]


def printed(folder, monkeypatch):
    """The same of what is printed of all that is kept in a folder, and of what it claims."""
    made = []

    def table(title, columns, rows):
        made.append(([*map(plain, columns)], [[*map(plain, row)] for row in rows]))

    for name in [name for name, one in EXPERIMENTS.items() if one.folder == folder]:
        module, _, function = SHOW.get(name, "run.show").partition(".")
        shows = importlib.import_module(f"experiments.{folder}.{module}")
        monkeypatch.setattr(shows, "table", table)
        getattr(shows, function)(json.loads(EXPERIMENTS[name].file.read_text()))
        table(name, HEADS, map(astuple, EXPERIMENTS[name].read()))
    return made


def has(shown, heads, rows):
    """Whether a printed table has these columns, all but what a paper says, and these rows in this order; it may have
    more of both."""
    ours = [place for place, head in enumerate(heads) if head in shown[0] or not head.startswith("paper")]
    if not {heads[place] for place in ours} <= {*shown[0]}:
        return False
    places = [shown[0].index(heads[place]) for place in ours]
    left = iter([[row[place] for place in places] for row in shown[1]])
    return all([row[place] for place in ours] in left for row in rows)


@pytest.mark.parametrize("folder", FOLDERS)
def test_tables_are_those_of_the_results(folder, monkeypatch):
    shown, found = printed(folder, monkeypatch), [*tables((HERE / folder / "README.md").read_text())]
    assert found
    for heads, rows in found:
        assert any(has(one, heads, rows) for one in shown), f"{heads} {rows}: printed are {shown}"
