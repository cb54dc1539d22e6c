"""README.md: its links lead somewhere, its figures are those that were measured, and the Chinese one says the same."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGLISH, CHINESE = (ROOT / name for name in ("README.md", "README.zh-CN.md"))
SAID = re.compile(r"`[^`]+`|\]\([^)]+\)|\d+(?:[.\-]\d+)*[%BMK]?|→|≥|−")
"""What a translation leaves as it is: code, where links lead, and numbers."""


def lines(page: Path) -> list[str]:
    return page.read_text(encoding="utf-8").split("\n")


def commands(page: Path) -> list[str]:
    return [line for line in lines(page) if line.startswith("    ")]


def tables(page: Path) -> list[list[list[str]]]:
    """Tables as rows of cells."""
    found: list[list[list[str]]] = [[]]
    for line in lines(page):
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif found[-1]:
            found.append([])
    return found[:-1]


def said(text: str) -> list[str]:
    return sorted(SAID.findall(text))


def parts(page: Path) -> list[str]:
    """What stands between one heading, table, picture or command and the next."""
    prose = re.sub(r"^(?:    |\||!\[|#).*$", "\f", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [part for part in re.split(r"\f\n*", prose) if part.strip()]


def test_links_lead_somewhere():
    for page in (ENGLISH, CHINESE):
        targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
        assert len(targets) > 40
        for target in targets:
            assert re.match(r"https://\w", target) or (ROOT / target).is_file(), f"{page.name}: {target}"


def test_files_that_are_named_are_there():
    for page in (ENGLISH, CHINESE):
        named = re.findall(
            r"`((?:configs|rl_reason|tests|docs|experiments)/[\w/.]+|[A-Z]+\.(?:md|cff))`", page.read_text()
        )
        assert len(named) > 15
        assert [name for name in named if not (ROOT / name).is_file()] == []


def test_every_config_of_the_repository_has_a_row():
    cells = " ".join(cell for table in tables(ENGLISH) for row in table for cell in row)
    configs = {path.name for path in (ROOT / "configs").glob("*.py")} - {"sft_tiny.py", "sft_assistant.py"}
    assert {name for name in configs if f"`configs/{name}`" not in cells} == set()


def test_it_is_short():
    assert len(lines(ENGLISH)) < 180


def test_the_chinese_one_has_the_same_commands():
    assert commands(ENGLISH) == commands(CHINESE) and len(commands(ENGLISH)) > 10


def test_the_chinese_one_has_the_same_headings():
    levels = [[re.match("#+", line)[0] for line in lines(page) if line.startswith("#")] for page in (ENGLISH, CHINESE)]
    assert levels[0] == levels[1] and len(levels[0]) > 6


@pytest.mark.parametrize("number", range(len(tables(ENGLISH))))
def test_the_chinese_one_has_the_same_tables(number):
    assert len(tables(ENGLISH)) == len(tables(CHINESE)) > 3
    english, chinese = tables(ENGLISH)[number], tables(CHINESE)[number]
    assert [len(row) for row in english] == [len(row) for row in chinese]
    for ours, theirs in zip(english, chinese, strict=True):
        assert [said(cell) for cell in ours] == [said(cell) for cell in theirs], (ours, theirs)


def test_the_chinese_one_names_the_same_files_numbers_and_pages():
    english, chinese = (parts(page) for page in (ENGLISH, CHINESE))
    assert len(english) == len(chinese) > 10
    for ours, theirs in zip(english, chinese, strict=True):
        assert said(ours.replace("README.zh-CN.md", "README.md")) == said(theirs), (ours, theirs)


def test_figures_of_benchmarks_are_those_that_were_measured():
    measured = {}
    for line in (ROOT / "benchmarks" / "RESULTS.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 13:
            measured[tuple(cells[:3])] = cells
    (table,) = [table for table in tables(ENGLISH) if table[0][0] == "workload"]
    assert len(table) == 2 + 5
    for workload, lengths, *cells, memory in table[2:]:
        memories = memory.split(", ")
        for system, cell, GiB in zip(("rl_reason", "trl", "tunix"), cells, memories, strict=True):
            row = measured[workload, lengths, system]
            if row[3].startswith("failed: "):
                assert f"failed: {cell}: {GiB} GiB" == row[3]
                continue
            times = "" if system == "rl_reason" else f" ({row[11]})"
            assert cell == f"{row[3]}{times}" and row[9] == f"{GiB} GiB"


def test_figures_of_the_demo_are_those_of_its_experiment():
    rows = tables(ENGLISH)[0][2:]
    text = (ROOT / "experiments" / "grpo_tiny" / "README.md").read_text(encoding="utf-8")
    measured = [re.sub(r" \[[^]]*\]", "", line).strip("| ").split(" | ") for line in text.splitlines()]  # No intervals.
    assert len(rows) == 3
    for row in rows:
        assert any(set(row) <= set(other) and row[0] == other[0] for other in measured), row
