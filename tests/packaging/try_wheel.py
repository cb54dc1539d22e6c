"""Installs a wheel of the project in an environment of its own and uses it there (`make wheel`).

That environment holds what the wheel says it needs, and nothing else: links to packages of the environment that this
runs in, so nothing is downloaded. Commands run in an empty folder, far from the repository.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FILES = [file.relative_to(ROOT) for file in (ROOT / "rl_reason").rglob("*") if file.is_file()]
SOURCES = {str(file) for file in FILES if "__pycache__" not in file.parts}
MODULES = [file for file in (ROOT / "rl_reason").glob("*.py") if "\n    run_command(main)" in file.read_text()]
COMMANDS = sorted(file.stem for file in MODULES if file.stem != "console")


def needed(requirements: list[str]) -> dict[str, metadata.Distribution]:
    """The installed packages that satisfy these requirements, and those that they need in turn."""
    found: dict[str, metadata.Distribution] = {}
    waiting, seen = [(Requirement(text), "") for text in requirements], set()
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        package = metadata.distribution(requirement.name)
        assert requirement.specifier.contains(package.version, prereleases=True), f"{requirement}: {package.version}"
        for wanted in ("", *requirement.extras):
            name = (canonicalize_name(requirement.name), wanted)
            if name not in seen:
                seen.add(name)
                found[name[0]] = package
                waiting += [(Requirement(text), wanted) for text in package.requires or ()]
    return found


class Installed:
    """An environment in `folder` with the wheel, and an empty folder `away` in which its commands run."""

    def __init__(self, folder: Path, wheel: Path):
        self.away = folder / "away"
        self.away.mkdir()
        venv.create(folder / "env", with_pip=False, symlinks=True)
        self.programs = folder / "env" / "bin"
        self.packages = next((folder / "env" / "lib").glob("python*")) / "site-packages"
        with zipfile.ZipFile(wheel) as archive:
            self.files = set(archive.namelist())
            described = next(name for name in self.files if name.endswith(".dist-info/METADATA"))
            self.metadata = metadata.PathDistribution(zipfile.Path(archive, described).parent)  # type: ignore[arg-type]
            requirements = self.metadata.requires or []
            self.version = self.metadata.version
        for package in needed([text for text in requirements if "extra ==" not in text]).values():
            for top in {file.parts[0] for file in package.files or () if file.parts[0] not in ("..", "__pycache__")}:
                link, target = self.packages / top, Path(str(package.locate_file(top)))
                if not link.exists() and target.exists():
                    link.symlink_to(target)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(self.programs / "python")]
        subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
        subprocess.run([*pip, "check"], check=True, stdout=subprocess.DEVNULL)

    def run(self, program: str, *arguments: str, status: int = 0) -> str:
        """What a program prints; fails unless it ends with that status and without a traceback."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(
            [str(self.programs / program), *arguments],
            cwd=self.away, env=environment | {"JAX_PLATFORMS": "cpu"}, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        told = f"{program} {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        assert done.returncode == status and "Traceback" not in done.stderr, told
        return done.stdout + done.stderr


def check(there: Installed) -> None:
    packed = {name for name in there.files if ".dist-info/" not in name}
    assert packed == SOURCES, f"only in the wheel or only in the sources: {sorted(packed ^ SOURCES)}"
    place = there.run("python", "-c", "import rl_reason; print(rl_reason.__file__)").strip()
    assert Path(place).is_relative_to(there.packages), place

    programs = sorted(file.name.removeprefix("rl-reason-") for file in there.programs.glob("rl-reason-*"))
    assert programs == COMMANDS, f"programs {programs}, modules with a command {COMMANDS}"
    with ThreadPoolExecutor(2) as pool:
        texts = pool.map(lambda name: there.run(f"rl-reason-{name}", "--help"), COMMANDS)
        for name, text in zip(COMMANDS, texts, strict=True):
            assert f"python -m rl_reason.{name}" in text, f"rl-reason-{name} --help: {text}"
    check_grading(there)
    check_configs(there)
    check_report(there)


def check_grading(there: Installed) -> None:
    """Workers start, and find a function of the user's in the folder where the command runs."""
    (there.away / "mine.py").write_text("def short(completion, problem):\n    return float(len(completion) < 12)\n")
    rows = [{"completion": "it is 12", "answer": "12"}, {"completion": "it might be 13", "answer": "12"}]
    (there.away / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for grader, rewards in (("number", [1.0, 0.0]), ("mine:short", [1.0, 0.0])):
        there.run("rl-reason-grade", f"--grader={grader}", "--input=rows.jsonl", "--output=graded.jsonl")
        graded = [json.loads(line) for line in (there.away / "graded.jsonl").read_text().splitlines()]
        assert [row["reward"] for row in graded] == rewards, graded


def check_configs(there: Installed) -> None:
    """Config files belong to the repository: named by their place they are read, and what is missing is told."""
    told = there.run("rl-reason-train", "--config=configs/grpo_math.py", status=2)
    assert "configs/ is a folder of the project's repository" in told, told
    for config in ("grpo_math.py", "r1_math.py"):
        told = there.run("rl-reason-train", f"--config={ROOT}/configs/{config}", "--config.seed=-1", status=2)
        assert "seed=-1" in told, told
    assert not (there.away / "runs").exists()


def check_report(there: Installed) -> None:
    """The page needs a file that is no module."""
    run = there.away / "run"
    run.mkdir()
    (run / "config.json").write_text(json.dumps({"steps": 2}))
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')
    there.run("rl-reason-report", "run")
    assert "</html>" in (run / "report.html").read_text(encoding="utf-8")


def main() -> None:
    wheel = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        there = Installed(Path(folder), wheel)
        check(there)
    print(f"{wheel.name}: {len(COMMANDS)} commands work where nothing else is installed")


if __name__ == "__main__":
    main()
