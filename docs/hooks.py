"""What the documents take from the repository when the site is built: code by its name, pictures, and the experiments.

    ```source
    rl_reason/objectives/kl.py: k1, k3
    ```

becomes the code of these two, without their docstrings. A name may have dots, for what stands within a class. A line
without names is a whole file.

`experiments/RESULTS.md` and the README of each experiment are pages too. What is not in `docs/` lies on the site where
it lies in the repository, and links are those of the repository.
"""

from __future__ import annotations

import ast
import os
import re
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SOURCES = re.compile(r"^```source\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
LINKS = re.compile(r"(?<=\]\()((?:\.\./)+[^)#\s]+\.(?:png|md))(?=[)#])")
NAMED = re.compile(r"`(experiments/(?:\w+/README|RESULTS)\.md)`")
LANGUAGES = {".py": "python", ".sbatch": "bash"}
EXPERIMENTS = ("experiments/RESULTS.md", "experiments/*/README.md", "experiments/*/*.png")


def named_sources(markdown: str) -> list[tuple[str, list[str]]]:
    """(file, names) of each line of the `source` blocks of a page."""
    lines = [line for block in SOURCES.findall(markdown) for line in block.splitlines()]
    pairs = [line.partition(": ")[::2] for line in lines]
    return [(file, names.split(", ") if names else []) for file, names in pairs]


def code_of(file: str, name: str) -> str:
    """The lines that define a function, class or variable of a file of the repository, without its docstring.

    Raises:
        LookupError: the file defines no such name.
    """
    text = (ROOT / file).read_text(encoding="utf-8")
    body: list[ast.stmt] = ast.parse(text).body
    node: ast.stmt | None = None
    for part in name.split("."):
        node = next((one for one in body if part in _defines(one)), None)
        if node is None:
            raise LookupError(f"{file}: defines no {name!r}")
        body = getattr(node, "body", [])
    assert node is not None
    first = min(line.lineno for line in (node, *getattr(node, "decorator_list", ())))
    dropped: set[int] = set()
    if len(body) > 1 and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        dropped = set(range(body[0].lineno, (body[0].end_lineno or 0) + 1))
    numbered = enumerate(text.splitlines()[first - 1 : node.end_lineno], first)
    return textwrap.dedent("\n".join(line for number, line in numbered if number not in dropped)).strip()


def _defines(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Puts code in the place of `source` blocks, and the site's places in that of the repository's; the name of an
    experiment's page becomes a link."""
    here = Path(page.file.src_uri).parent

    def code(block: re.Match) -> str:
        parts = named_sources(block[0])
        return "\n\n".join(
            f'```{LANGUAGES[Path(file).suffix]} title="{file}"\n{_shown(file, names)}\n```' for file, names in parts
        )

    def link(found: re.Match) -> str:
        return os.path.relpath(_in_repository(here, found[1]).removeprefix("docs/"), here)

    def named(found: re.Match) -> str:
        return f"[{found[0]}]({os.path.relpath(found[1], here)})"

    return NAMED.sub(named, LINKS.sub(link, SOURCES.sub(code, markdown)))


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages of the experiments, and the pictures of the repository that pages show."""
    from mkdocs.structure.files import File

    def add(path: str) -> None:
        if files.get_file_from_path(path) is None:
            files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))

    for pattern in EXPERIMENTS:
        for file in sorted(ROOT.glob(pattern)):
            add(file.relative_to(ROOT).as_posix())
    for page in files.documentation_pages():
        for link in LINKS.findall(Path(page.abs_src_path).read_text(encoding="utf-8")):
            if link.endswith(".png"):
                add(_in_repository(Path(page.src_uri).parent, link))
    return files


def _shown(file: str, names: list[str]) -> str:
    if not names:
        return (ROOT / file).read_text(encoding="utf-8").strip()
    return "\n\n\n".join(code_of(file, name) for name in names)


def _in_repository(folder: Path, link: str) -> str:
    """A link of a page in this folder of the site, as a path in the repository."""
    return os.path.normpath((folder if folder.parts[:1] == ("experiments",) else "docs" / folder) / link)
