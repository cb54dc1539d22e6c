"""Which experiments there are: the command of each, what it needs and takes, what is kept of it, and whether it has
commands of paper size."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from experiments.claims import Claim
from experiments.full import Command, Pod

HERE = Path(__file__).parent
ROOT = HERE.parent


@dataclass(frozen=True)
class Experiment:
    """A command and what is kept of its output."""

    folder: str
    """Below `experiments/`."""
    title: str
    seeds: int = 3
    """How many are run where nothing else is asked for; 0: it has none."""
    minutes: float | None = None
    """That a seed takes (without seeds: all of it), measured on one or two CPU cores, mostly beside other work; None:
    the `seconds` that its results keep, where they do."""
    flags: tuple[str, ...] = ()
    module: str = "run"
    output: str = ""
    """Its folder below that of all runs, where that is not its name."""
    data: Mapping[str, str] | None = None
    """Flag → the folder that it takes, below that of all data."""
    programs: Mapping[str, str] | None = None
    """Flag → what has to be named there."""
    package: tuple[str, str] | None = None
    """What has to be importable, and how it is installed."""
    kept: str = "results.json"
    """The name of OUTPUT/results.json in the experiment's folder."""
    claims: str = "claims"
    """The function of `claims.py` that reads it."""
    makes: str = "results.json"
    full: str = "commands"
    """The function of `full.py` that has its commands of paper size; "": its own command is that at either scale."""

    @property
    def file(self) -> Path:
        """What is kept of it."""
        return HERE / self.folder / self.kept

    def read(self, file: Path | None = None) -> list[Claim]:
        """What its results say: those in `file`, or those that are kept."""
        module = importlib.import_module(f"experiments.{self.folder}.claims")
        return getattr(module, self.claims)(json.loads((file or self.file).read_text()))

    def at_paper_size(self, pod: Pod) -> list[Command]:
        """What is run on a pod; empty where its own command is all."""
        if not self.full:
            return []
        return [*getattr(importlib.import_module(f"experiments.{self.folder}.full"), self.full)(pod)]

    def minutes_of_seed(self) -> float | None:
        """None: not measured."""
        if self.minutes is not None or not self.file.exists():
            return self.minutes
        seconds = _seconds(json.loads(self.file.read_text()))
        return mean(seconds) / 60 if seconds else None

    def duration(self, seeds: int = 0) -> str:
        """What is said of that, of `seeds` seeds or as many as are run."""
        of_seed, count = self.minutes_of_seed(), seeds or self.seeds
        if of_seed is None:
            return "not measured"
        if not self.seeds:
            return f"about {_minutes(of_seed)}"
        return f"about {_minutes(of_seed)} a seed, {count * max(round(of_seed), 1)} for {count}"

    def seeds_within(self, minutes: float) -> int:
        """How many take no longer than that, at least one and at most `seeds`; what was not measured takes no time."""
        of_seed = max(round(self.minutes_of_seed() or 0), 1)
        return min(self.seeds, max(int(minutes // of_seed), 1))

    def missing(self, data: str, programs: Mapping[str, str]) -> list[str]:
        """What it needs and has not, each as something to be done."""
        lacks = ["--data=DIR"] if self.data and not data else []
        lacks += [f"--{flag}={what}" for flag, what in (self.programs or {}).items() if not programs.get(flag)]
        if self.package and importlib.util.find_spec(self.package[0]) is None:
            lacks.append(self.package[1])
        return lacks

    def command(
        self, name: str, output: Path, data: str, programs: Mapping[str, str], seeds: int = 0
    ) -> list[str]:
        """Arguments behind the Python."""
        made = ["-m", f"experiments.{self.folder}.{self.module}"]
        made += [f"--seeds={seeds or self.seeds}"] if self.seeds else []
        made += self.flags
        made += [f"--{flag}={Path(data) / below}" for flag, below in (self.data or {}).items()]
        made += [f"--{flag}={programs[flag]}" for flag in self.programs or {}]
        return [*made, f"--output={output / (self.output or name)}"]


def _seconds(results: Any) -> list[float]:
    """What each seed took, where the results keep it: as a whole, or of its stages."""
    found = []
    for one in results if isinstance(results, list) else []:
        whole = one.get("seconds") or sum(stage.get("seconds", 0) for stage in one.get("stages", {}).values())
        # Where runs were only read again, that took no time; a list is of the steps.
        if isinstance(whole, float) and whole > 1:
            found.append(whole)
    return found if isinstance(results, list) and len(found) == len(results) else []


def _minutes(count: float) -> str:
    return f"{max(round(count), 1)} minute{'s' * (round(count) > 1)}"


GEOMETRY = ("newclid", "pip install -e '.[geometry]'")
EXPERIMENTS: dict[str, Experiment] = {
    "paradigm": Experiment("paradigm", "The unified view of DeepSeekMath", seeds=0, minutes=3, full=""),
    "methods": Experiment("methods", "The methods of DeepSeekMath, side by side", minutes=9),
    "grpo_tiny": Experiment("grpo_tiny", "GRPO on the laptop"),
    "ppo_vs_grpo_memory": Experiment(
        "ppo_vs_grpo_memory",
        "What GRPO saves of PPO's memory",
        seeds=0,
        output="memory",
        package=("libtpu", "pip install 'jax[tpu]'"),
    ),
    "ppo_vs_grpo_memory_measured": Experiment(
        "ppo_vs_grpo_memory",
        "Planned memory against measured",
        seeds=0,
        minutes=12,
        flags=("--measure",),
        output="memory",
        kept="measured.json",
        makes="measured.json",
        claims="measured",
        full="measured",
    ),
    "r1_zero": Experiment("r1_zero", "R1-Zero", minutes=8),
    "r1": Experiment("r1", "DeepSeek-R1's stages", minutes=23),
    "distillation": Experiment("distillation", "A student of a large teacher, or its own reinforcement"),
    "unsuccessful": Experiment("unsuccessful", "What DeepSeek-R1 says did not work", minutes=20),
    "o1": Experiment("o1", "o1: accuracy against compute", minutes=10),
    "test_time_scaling": Experiment("test_time_scaling", "Accuracy against tokens spent", minutes=11),
    "lets_verify": Experiment("lets_verify", "Let's Verify Step by Step", minutes=19),
    "constitutional": Experiment("constitutional", "Constitutional AI", minutes=9),
    "wizardmath": Experiment("wizardmath", "WizardMath"),
    "minerva": Experiment("minerva", "Minerva", minutes=51),
    "alphageometry_engine": Experiment(
        "alphageometry",
        "AlphaGeometry: the engine alone",
        module="engine",
        seeds=0,
        minutes=1,
        data={"data": "geometry"},
        package=GEOMETRY,
        kept="engine.json",
        claims="engine",
        full="",
    ),
    "alphageometry": Experiment("alphageometry", "AlphaGeometry: the proposer", minutes=29, package=GEOMETRY),
    "ablations": Experiment("ablations", "GRPO's settings, one at a time", minutes=10),
    "sampling_ahead": Experiment("sampling_ahead", "Sampling one step ahead", minutes=6),
    "diagnostics": Experiment("diagnostics", "Runs that are made to fail", minutes=12, full=""),
    "graders": Experiment(
        "graders", "Graders of answers", seeds=0, minutes=4, flags=("--speed",), data={"dir": ""}, full=""
    ),
    "graders_code": Experiment(
        "graders_code", "The grader of programs", seeds=0, minutes=3, data={"data": "code"}, full=""
    ),
    "harness_agreement": Experiment(
        "harness_agreement",
        "Agreement with lm-evaluation-harness",
        seeds=0,
        minutes=2,
        data={"dir": "math"},
        programs={"harness": "a Python that has lm_eval"},
        full="",
    ),
}
