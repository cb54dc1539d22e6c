"""Which experiments there are: the command of each, what it needs, what is kept of it, its configs of paper size."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.claims import Claim

HERE = Path(__file__).parent
ROOT = HERE.parent


@dataclass(frozen=True)
class Experiment:
    """A command and what is kept of its output."""

    folder: str
    """Below `experiments/`."""
    title: str
    flags: tuple[str, ...] = ("--seeds=3",)
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
    configs: tuple[str, ...] = ()
    """Of paper size, in order, below `configs/`."""

    @property
    def file(self) -> Path:
        """What is kept of it."""
        return HERE / self.folder / self.kept

    def read(self, file: Path | None = None) -> list[Claim]:
        """What its results say: those in `file`, or those that are kept."""
        module = importlib.import_module(f"experiments.{self.folder}.claims")
        return getattr(module, self.claims)(json.loads((file or self.file).read_text()))

    def missing(self, data: str, programs: Mapping[str, str]) -> list[str]:
        """What it needs and has not, each as something to be done."""
        lacks = ["--data=DIR"] if self.data and not data else []
        lacks += [f"--{flag}={what}" for flag, what in (self.programs or {}).items() if not programs.get(flag)]
        if self.package and importlib.util.find_spec(self.package[0]) is None:
            lacks.append(self.package[1])
        return lacks

    def command(self, name: str, output: Path, data: str, programs: Mapping[str, str]) -> list[str]:
        """Arguments behind the Python."""
        made = ["-m", f"experiments.{self.folder}.{self.module}", *self.flags]
        made += [f"--{flag}={Path(data) / below}" for flag, below in (self.data or {}).items()]
        made += [f"--{flag}={programs[flag]}" for flag in self.programs or {}]
        return [*made, f"--output={output / (self.output or name)}"]


GEOMETRY = ("newclid", "pip install -e '.[geometry]'")
EXPERIMENTS: dict[str, Experiment] = {
    "methods": Experiment(
        "methods",
        "The methods of DeepSeekMath, side by side",
        configs=("rft_math", "online_rft_math", "grpo_math", "grpo_process_math", "ppo_math", "iterative_grpo_math"),
    ),
    "grpo_tiny": Experiment("grpo_tiny", "GRPO on the laptop", configs=("grpo_math",)),
    "ppo_vs_grpo_memory": Experiment(
        "ppo_vs_grpo_memory",
        "What GRPO saves of PPO's memory",
        flags=(),
        output="memory",
        package=("libtpu", "pip install 'jax[tpu]'"),
        configs=("ppo_math", "grpo_math"),
    ),
    "ppo_vs_grpo_memory_measured": Experiment(
        "ppo_vs_grpo_memory",
        "Planned memory against measured",
        flags=("--measure",),
        output="memory",
        kept="measured.json",
        makes="measured.json",
        claims="measured",
    ),
    "r1_zero": Experiment("r1_zero", "R1-Zero", configs=("r1_zero_math",)),
    "r1": Experiment("r1", "DeepSeek-R1's stages", configs=("r1_math",)),
    "distillation": Experiment(
        "distillation", "A student of a large teacher, or its own reinforcement", configs=("distill_math",)
    ),
    "unsuccessful": Experiment(
        "unsuccessful",
        "What DeepSeek-R1 says did not work",
        configs=("orm_math", "prm_math", "grpo_math", "grpo_process_math"),
    ),
    "o1": Experiment("o1", "o1: accuracy against compute", configs=("o1_math",)),
    "test_time_scaling": Experiment(
        "test_time_scaling", "Accuracy against tokens spent", configs=("prm_math", "grpo_math")
    ),
    "lets_verify": Experiment("lets_verify", "Let's Verify Step by Step", configs=("prm_math", "orm_math")),
    "constitutional": Experiment("constitutional", "Constitutional AI", configs=("constitutional",)),
    "wizardmath": Experiment("wizardmath", "WizardMath", configs=("wizardmath",)),
    "minerva": Experiment("minerva", "Minerva", configs=("minerva",)),
    "alphageometry_engine": Experiment(
        "alphageometry",
        "AlphaGeometry: the engine alone",
        module="engine",
        flags=(),
        data={"data": "geometry"},
        package=GEOMETRY,
        kept="engine.json",
        claims="engine",
    ),
    "alphageometry": Experiment(
        "alphageometry", "AlphaGeometry: the proposer", package=GEOMETRY, configs=("alphageometry",)
    ),
    "ablations": Experiment("ablations", "GRPO's settings, one at a time", configs=("grpo_math",)),
    "sampling_ahead": Experiment("sampling_ahead", "Sampling one step ahead", configs=("grpo_math",)),
    "diagnostics": Experiment("diagnostics", "Runs that are made to fail", flags=()),
    "graders": Experiment("graders", "Graders of answers", flags=("--speed",), data={"dir": ""}),
    "graders_code": Experiment("graders_code", "The grader of programs", flags=(), data={"data": "code"}),
    "harness_agreement": Experiment(
        "harness_agreement",
        "Agreement with lm-evaluation-harness",
        flags=(),
        data={"dir": "math"},
        programs={"harness": "a Python that has lm_eval"},
    ),
}
