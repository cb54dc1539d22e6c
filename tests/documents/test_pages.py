"""Pages name code, pictures and other pages that are there; read without building the site."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from docs.hooks import code_of, named_sources, on_page_markdown

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
NAMED = sorted({(file, name) for page in PAGES for file, names in named_sources(page.read_text()) for name in names})
MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for file in (ROOT / "rl_reason").rglob("*.py")
}
COMMANDS = set(re.findall(r"`python -m (rl_reason\.\w+) ", (ROOT / "docs" / "commands.md").read_text()))
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def on_site(uri: str) -> SimpleNamespace:
    """A page as the site knows it."""
    return SimpleNamespace(file=SimpleNamespace(src_uri=uri))


def anchors(page: Path) -> set[str]:
    """Of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def named_modules(text: str) -> set[str]:
    """Of the package: as `rl_reason.models.config`, with a name of it or without, or `rl_reason/models/config.py`, in
    which the first folder may be left out. A key of a config, `data.problems`, may be called as a module is."""
    found = {name.replace("/", ".") for name in re.findall(r"(?<![\w/.])((?:rl_reason/)?[a-z_]+(?:/\w+)+)\.py\b", text)}
    found = {name if name.startswith("rl_reason.") else f"rl_reason.{name}" for name in found}
    for name in re.findall(r"\brl_reason(?:\.\w+)+", text):
        while name not in MODULES:
            name = name.rpartition(".")[0]
        found.add(name)
    return found & MODULES - {"rl_reason"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", page.read_text())):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.is_file(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(file), f"{page.name}: {target}"


@pytest.mark.parametrize("file, name", NAMED)
def test_named_code_is_there(file, name):
    code = code_of(file, name)
    assert name.rpartition(".")[2] in code.partition("\n\n")[0]
    compile(code, file, "exec")


def test_every_source_block_is_replaced():
    shown = [page for page in PAGES if "```source" in page.read_text()]
    assert len(shown) > 8 and len(NAMED) > 30
    for page in shown:
        made = on_page_markdown(page.read_text(), on_site(str(page.relative_to(ROOT / "docs"))))
        assert "```source" not in made and made.count('```python title="rl_reason/') >= made.count("## The code")


def test_a_name_that_is_not_there():
    with pytest.raises(LookupError, match=r"kl\.py: defines no 'k4'"):
        code_of("rl_reason/objectives/kl.py", "k4")


def test_a_line_without_names_is_a_whole_file():
    made = on_page_markdown("```source\ndocs/slurm/train.sbatch\n```", on_site("slurm.md"))
    assert made.startswith('```bash title="docs/slurm/train.sbatch"\n#!/bin/bash\n')
    assert made.endswith('exit "$status"\n```')


def test_code_has_no_docstring_and_no_indentation():
    code = code_of("rl_reason/objectives/distillation.py", "Divergence.whole")
    assert code.startswith("def whole(") and '"""' not in code


@pytest.mark.parametrize(
    "page, link, expected",
    [
        ("index.md", "../experiments/RESULTS.md", "experiments/RESULTS.md"),
        ("algorithms/search.md", "../../experiments/o1/o1.png", "../experiments/o1/o1.png"),
        ("algorithms/search.md", "../report.md#curves", "../report.md#curves"),
        ("experiments/o1/README.md", "../../docs/report.md", "../../report.md"),
        ("experiments/o1/README.md", "../r1/README.md", "../r1/README.md"),
        ("experiments/o1/README.md", "o1.png", "o1.png"),
    ],
)
def test_links_of_the_repository_are_those_of_the_site(page, link, expected):
    assert on_page_markdown(f"see [there]({link})", on_site(page)) == f"see [there]({expected})"


def test_where_an_experiment_is_named_is_a_link():
    made = on_page_markdown("`experiments/o1/README.md` draws", on_site("algorithms/search.md"))
    assert made == "[`experiments/o1/README.md`](../experiments/o1/README.md) draws"


def test_all_pages_are_in_the_navigation():
    listed = set(re.findall(r"[\w/]+\.md", (ROOT / "mkdocs.yml").read_text()))
    assert listed == {str(page.relative_to(ROOT / "docs")) for page in PAGES} | {"experiments/RESULTS.md"}


def test_modules_that_pages_name_are_on_the_page_of_the_api():
    listed = re.findall(r"^::: (\S+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    assert len(listed) == len(set(listed)) and set(listed) <= MODULES
    pages = [page for page in PAGES if page.name not in ("api.md", "architecture.md")]
    named = {str(page.relative_to(ROOT)): named_modules(page.read_text()) for page in pages}
    assert sum(map(len, named.values())) > 60 and len(COMMANDS) == 10
    lacking = {page: sorted(names - COMMANDS - set(listed)) for page, names in named.items()}
    assert {page: names for page, names in lacking.items() if names} == {}


def test_what_counts_as_the_name_of_a_module():
    text = "`rl_reason.runtime.config.read`, rl_reason/presets.py: `parallel/mesh.py`, rl_reason.NAME, `data.problems`"
    assert named_modules(text) == {f"rl_reason.{name}" for name in ("runtime.config", "presets", "parallel.mesh")}
    assert named_modules("from rl_reason.rewards import Verdict") == {"rl_reason.rewards"}
    assert named_modules("tests/rewards/test_code.py, `my/models/config.py` and configs/grpo_math.py") == set()
