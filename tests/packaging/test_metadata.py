"""What is told of the project outside of its code agrees with `setup.py`."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
SETUP = (ROOT / "setup.py").read_text()
VERSION = re.search(r'^    version="(.*)",$', SETUP, re.MULTILINE)[1]
REQUIRED = {"cff-version", "title", "message", "authors"}
OPTIONAL = {"type", "version", "license", "keywords", "abstract", "date-released", "doi", "references"}
"""Of the keys of the Citation File Format 1.2.0, those that need no address of a host."""


def test_the_version_stands_in_one_place():
    """Elsewhere only where a file has to say it by itself."""
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
    sources = [path for path in (ROOT / "rl_reason").rglob("*.py") if "__version__" in path.read_text()]
    assert not sources
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1] == VERSION


def test_citation():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert REQUIRED <= set(citation) <= REQUIRED | OPTIONAL
    assert citation["cff-version"] == "1.2.0" and citation["type"] in ("software", "dataset")
    assert citation["version"] == VERSION and f'license="{citation["license"]}"' in SETUP
    assert citation["title"].startswith("rl_reason") and citation["message"]
    assert citation["authors"] and all(author["name"] for author in citation["authors"])
    assert len(set(citation["keywords"])) == len(citation["keywords"]) > 0


def test_every_extra_is_named_in_a_document():
    extras = re.findall(r'^        "(\w+)": \[', SETUP, re.MULTILINE)
    texts = "".join(path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
    assert {"test", "gym", "tpu"} <= set(extras)
    told = {extra for extra in extras if re.search(rf"""\.?\[{extra}\]""", texts)}
    assert told >= set(extras) - {"test", "docs"}
