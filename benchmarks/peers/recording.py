"""What a system's run is measured by: seconds of each step and of its phases, tokens, memory. Standard library only."""

from __future__ import annotations

import argparse
import functools
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

PHASES = ("sample", "score")
"""Phases that are timed; `update` is the rest of a step."""


class Recorder:
    """Collects the steps of one run.

    Args:
        about: `system`, `workload` and `lengths`, and what else the file shall say.
        wait: called with what a phase returned, to wait until a device has computed it.
    """

    def __init__(self, about: dict, wait: Callable[[Any], Any] = lambda value: None):
        self._about, self._wait = about, wait
        self.steps: list[dict] = []
        self._began = time.perf_counter()
        self._reset()

    def _reset(self) -> None:
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._tokens = 0
        self._rewards: list[float] = []

    def begin(self) -> None:
        """The first step begins now: loading is over."""
        self._began = time.perf_counter()
        self._reset()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self._seconds[name] += time.perf_counter() - began

    def wrap(self, owner: Any, method: str, name: str, after: Callable[[Any], None] = lambda value: None) -> None:
        """Replaces a method of one object by itself, timed as phase `name`; `after` sees what it returned."""
        inner = getattr(owner, method)

        @functools.wraps(inner)
        def timed(*args, **kwargs):
            with self.phase(name):
                value = inner(*args, **kwargs)
                self._wait(value)
            after(value)
            return value

        setattr(owner, method, timed)

    def tokens(self, count: int) -> None:
        """So many tokens of completions were sampled, end tokens counted."""
        self._tokens += int(count)

    def rewards(self, values: Sequence[float]) -> None:
        self._rewards += map(float, values)

    def end_step(self) -> None:
        """A step is over, and the next one begins."""
        now = time.perf_counter()
        total, seconds = now - self._began, self._seconds
        step = {"total_s": total, **{f"{name}_s": seconds[name] for name in PHASES}}
        step |= {"update_s": total - sum(seconds.values()), "completion_tokens": self._tokens}
        if self._rewards:
            step["reward_mean"] = sum(self._rewards) / len(self._rewards)
            step["reward_min"], step["reward_max"] = min(self._rewards), max(self._rewards)
        self.steps.append(step)
        shown = " ".join(f"{key}={value:.3f}" for key, value in step.items() if key.endswith("_s"))
        print(f"step {len(self.steps)}: {shown} tokens={self._tokens}", file=sys.stderr, flush=True)
        self._began = now
        self._reset()

    def write(self, file: Path, device: str, packages: Sequence[str], device_peak_bytes: int | None = None) -> None:
        """Writes the run as JSON. `device_peak_bytes` is the high-water mark of an accelerator's memory."""
        content = {
            **self._about,
            "versions": versions(packages),
            "device": device,
            "steps": self.steps,
            "first_step_s": self.steps[0]["total_s"],
            "peak_rss_bytes": peak_rss_bytes(),
            "peak_device_bytes": device_peak_bytes,
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def versions(packages: Sequence[str]) -> dict[str, str]:
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}}


def peak_rss_bytes() -> int:
    """High-water mark of this process's resident memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("/proc/self/status has no VmHWM")


def flags(description: str | None, default_micro: int = 0) -> argparse.Namespace:
    """The flags of a system's script."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder of the workload")
    parser.add_argument("--workload", required=True)
    parser.add_argument("--lengths", required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--json", type=Path, required=True, help="file that is written")
    parser.add_argument("--micro", type=int, default=default_micro, help="completions of a micro-batch; 0: the best")
    parser.add_argument("--remat", action="store_true", help="layers are computed again in the backward pass")
    return parser.parse_args()
