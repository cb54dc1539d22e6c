"""Starts the project's commands as a user does, and reads what they leave behind."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent

SMALL = (
    "--config.data.problems=64",
    "--config.data.max_prompt_length=200",
    "--config.sampling.max_length=12",
    "--config.algorithm.group_size=4",
    "--config.algorithm.batch_size=8",
    # What experience may change in the variant must not change the tests.
    "--config.data.template=question",
    "--config.sampling.temperature=1.0",
    "--config.algorithm.learning_rate=1e-3",
    "--config.algorithm.schedule=constant",
    "--config.algorithm.warmup_steps=0",
    "--config.algorithm.kl_coef=0.04",
    "--config.algorithm.updates=1",
    "--config.algorithm.minibatches=1",
    "--config.algorithm.micro_batch=0",
    "--config.algorithm.reference_every=0",
    "--config.evaluation.problems=8",
    "--config.evaluation.samples=2",
    "--config.evaluation.every=3",
    "--config.checkpoint.every=2",
    "--config.steps=6",
)
"""A run of seconds: with `--config=configs/grpo_math.py:tiny`."""

COLLECTED = (
    "--config.sampling.batch_size=16",
    "--config.collect.samples=4",
    "--config.collect.threshold=0.4",
)
"""Beside `LETTERS`, so that some completions are right."""

LETTERS = (
    "--config.reward.names=('user_rewards:letters',)",
    "--config.reward.weights=(1.0,)",
    "--config.reward.environment=('SECONDS_PER_REWARD', 'STUCK', 'GRADED')",
)


@dataclass(frozen=True)
class Commands:
    """Runs commands that share one compilation cache: the second run of a shape does not compile."""

    cache: Path
    model: Path
    """The folder of a tiny model."""

    def environment(self, devices: int = 1, optimized: bool = False, **extra: str) -> dict[str, str]:
        """Variables of a command; `optimized`: with all of XLA's passes, as a user's run has them. To compile runs of
        seconds takes longer than to run them."""
        made = dict(os.environ)
        flags = [f for f in made.pop("XLA_FLAGS", "").split() if "device_count" not in f]
        flags.append(f"--xla_force_host_platform_device_count={devices}")
        if optimized:
            flags = [f for f in flags if "fusion" not in f and "codegen" not in f]
        else:
            made["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
        made["XLA_FLAGS"] = " ".join(flags)
        made["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(HERE), str(HERE / "without_torch")])
        made["HF_HUB_OFFLINE"] = "1"
        made["JAX_COMPILATION_CACHE_DIR"] = str(self.cache)
        made["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        made["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
        return made | extra

    def grpo(self, workdir: Path, *flags: str) -> list[str]:
        """Arguments of a short GRPO run with a reward that differs between completions."""
        return [
            "rl_reason.train",
            "--config=configs/grpo_math.py:tiny",
            f"--config.model.path={self.model}",
            f"--workdir={workdir}",
            *SMALL,
            *LETTERS,
            *flags,
        ]

    def supervised(self, workdir: Path, *flags: str) -> list[str]:
        return [
            "rl_reason.train",
            "--config=configs/sft_tiny.py:tiny",
            f"--config.model.path={self.model}",
            f"--workdir={workdir}",
            "--config.data.max_prompt_length=200",
            "--config.sampling.max_length=320",
            "--config.algorithm.batch_size=2",
            "--config.steps=6",
            "--config.data.solutions=((0, (('worked', 1.0),)), (3, (('bare', 0.5), ('plain', 0.5))))",
            "--config.evaluation.every=3",
            "--config.evaluation.problems=4",
            "--config.evaluation.samples=2",
            "--config.checkpoint.every=2",
            *LETTERS,
            *flags,
        ]

    def offline(self, name: str, workdir: Path, *flags: str) -> list[str]:
        """Arguments of a short run of `rft` or `dpo`: four completions of each of 24 questions, collected in batches of
        four questions."""
        return [
            "rl_reason.train",
            f"--config=configs/{name}_math.py:tiny",
            f"--config.model.path={self.model}",
            f"--workdir={workdir}",
            "--config.data.problems=24",
            "--config.data.max_prompt_length=200",
            "--config.sampling.max_length=12",
            "--config.algorithm.batch_size=4",
            "--config.algorithm.learning_rate=1e-3",
            "--config.algorithm.warmup_steps=0",
            "--config.evaluation.every=3",
            "--config.evaluation.problems=4",
            "--config.evaluation.samples=1",
            "--config.checkpoint.every=2",
            "--config.steps=6",
            *(("--config.data.row_length=256",) if name == "rft" else ()),
            *LETTERS,
            *flags,
        ]

    def distillation(self, workdir: Path, teacher: Path, *flags: str) -> list[str]:
        """Arguments of a short run of the tiny model as a student."""
        named = ("--config.recipe=distillation", f"--config.distillation.teacher={teacher}")
        return self.grpo(workdir, *named, *flags)

    def start(self, arguments: list[str], devices: int = 1, optimized: bool = False, **extra: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env=self.environment(devices, optimized, **extra),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, arguments: list[str], devices: int = 1, optimized: bool = False, **extra: str
    ) -> subprocess.CompletedProcess:
        process = self.start(arguments, devices, optimized, **extra)
        try:
            out, err = process.communicate(timeout=300)
        finally:
            process.kill()
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def run_together(
        self,
        argument_lists: list[list[str]],
        devices: int,
        meanwhile: Callable[[list[subprocess.Popen]], None] = lambda started: None,
        **extra: str,
    ) -> list[subprocess.CompletedProcess]:
        """One process for each list of arguments, of so many devices each, that work together."""
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        flags = [f"--coordinator=127.0.0.1:{port}", f"--processes={len(argument_lists)}"]
        started = [
            self.start([*arguments, *flags, f"--process={i}"], devices, **extra)
            for i, arguments in enumerate(argument_lists)
        ]
        # Read side by side: one that waits for a full pipe would keep the others waiting.
        with ThreadPoolExecutor(len(started)) as readers:
            read = [readers.submit(process.communicate, timeout=300) for process in started]
            meanwhile(started)
        try:
            return [
                subprocess.CompletedProcess(process.args, process.returncode, *future.result())
                for process, future in zip(started, read, strict=True)
            ]
        finally:
            for process in started:
                process.kill()

    def succeed(
        self, arguments: list[str], devices: int = 1, optimized: bool = False, **extra: str
    ) -> subprocess.CompletedProcess:
        done = self.run(arguments, devices, optimized, **extra)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return done


def read(path: Path) -> list[dict]:
    """The rows of a JSON Lines file; fails on one that is no strict JSON (NaN is none)."""

    def refuse(text: str):
        raise AssertionError(f"{path}: {text} is not JSON")

    # Not splitlines: questions hold U+2028 and its like.
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line, parse_constant=refuse) for line in lines if line]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, byte for byte."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
